// Tokens sampled on the GPU against the reference, exactly: the token into whose share a random
// number falls.

import { expect, it } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { bufferOf } from '../../src/gpu/program';
import { sampleTokens } from '../../src/kernels/sample';
import * as reference from '../../src/reference';
import { execute, testVariants, upload, zeros } from './variants';

const TEMPERATURE = 0.8;
/**
 * Rounding may move the end of a share by this much: exponentials are off by some 1e-6, and their
 * sum by less.
 */
const EDGE = 1e-5;

/** Samples one token for each roll, all from the same logits. */
async function sampled(gpu: Gpu, logits: number[], rolls: number[], k: number): Promise<number[]> {
  const all = upload(
    gpu,
    'logits',
    rolls.flatMap(() => logits),
    [rolls.length, logits.length],
  );
  const tokens = zeros(gpu, 'tokens', [rolls.length], 'u32');
  const tensors = { logits: all, rolls: upload(gpu, 'rolls', rolls, [rolls.length]), tokens };
  await execute(gpu, (recorder) =>
    sampleTokens(recorder, tensors, { k, temperature: TEMPERATURE }),
  );
  return [...new Uint32Array(await gpu.read(bufferOf(tokens)))];
}

// Fewer tokens than lanes and than k, and vocabularies that the lanes do not divide evenly.
testVariants(
  'a roll samples the token whose share it falls into',
  async (gpu) => {
    for (const [V, k] of [
      [37, 40],
      [131, 40],
      [1000, 40],
      [131, 1],
    ]) {
      const logits = [...Float32Array.from(reference.numbers(V, V, 4))];
      const { tokens, ends } = reference.tokenShares(logits, k, TEMPERATURE);
      // Just inside both ends of every share that is wide enough.
      const cases = tokens.flatMap((token, i) => {
        const start = ends[i - 1] ?? 0;
        if (ends[i] - start < 4 * EDGE) return [];
        return [start + EDGE, ends[i] - EDGE].map((roll) => ({ token, roll }));
      });
      const got = await sampled(
        gpu,
        logits,
        cases.map(({ roll }) => roll),
        k,
      );
      expect(cases.length).toBeGreaterThan(Math.min(k, V));
      expect(got, `V=${V} k=${k}`).toEqual(cases.map(({ token }) => token));
    }
  },
  undefined,
  ['f32'],
);

testVariants(
  'of equal logits the lower ids come first, and a token of probability 0 is never sampled',
  async (gpu) => {
    const equal = Array(50).fill(0);
    expect(await sampled(gpu, equal, [0, 0.51, 0.999], 40)).toEqual([0, 20, 39]);
    const ruledOut = equal.map((_, v) => (v % 10 === 7 ? 1 : Number.NEGATIVE_INFINITY));
    expect(await sampled(gpu, ruledOut, [0, 0.3, 0.5, 0.7, 0.999, 1], 40)).toEqual([
      7, 17, 27, 37, 47, 7,
    ]);
  },
  undefined,
  ['f32'],
);

testVariants(
  'a row of NaN still gives a token of the vocabulary',
  async (gpu) => {
    const [token] = await sampled(gpu, Array(50).fill(Number.NaN), [0.5], 40);
    expect(token).toBeLessThan(50);
  },
  undefined,
  ['f32'],
);

it('in the reference, shares are in proportion to probabilities', () => {
  const { tokens, ends } = reference.tokenShares([0, Math.log(4), Math.log(3)], 2, 1);
  expect(tokens).toEqual([1, 2]);
  expect(ends[0]).toBeCloseTo(4 / 7, 12);
  expect(ends[1]).toBeCloseTo(1, 12);
});
