// Words drawn on the GPU against the slow twin: whose share of the range a roll falls into,
// exactly.

import { expect, it } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { bufferOf } from '../../src/gpu/program';
import { draw } from '../../src/kernels/sample';
import * as reference from '../../src/reference';
import { execute, testVariants, upload, zeros } from './variants';

const TEMPERATURE = 0.8;
/**
 * What rounding may move a share's end by: exponentials are off by some 1e-6, and their sum by
 * less.
 */
const EDGE = 1e-5;

/** Draws a word for each roll, all from the same logits. */
async function drawn(gpu: Gpu, logits: number[], rolls: number[], k: number): Promise<number[]> {
  const all = upload(
    gpu,
    'logits',
    rolls.flatMap(() => logits),
    [rolls.length, logits.length],
  );
  const tokens = zeros(gpu, 'tokens', [rolls.length], 'u32');
  const tensors = { logits: all, rolls: upload(gpu, 'rolls', rolls, [rolls.length]), tokens };
  await execute(gpu, (recorder) => draw(recorder, tensors, { k, temperature: TEMPERATURE }));
  return [...new Uint32Array(await gpu.read(bufferOf(tokens)))];
}

// Fewer words than lanes and than k, and numbers of words that the lanes do not divide.
testVariants(
  'a roll falls on the word whose share it is in',
  async (gpu) => {
    for (const [V, k] of [
      [37, 40],
      [131, 40],
      [1000, 40],
      [131, 1],
    ]) {
      const logits = [...Float32Array.from(reference.numbers(V, V, 4))];
      const { words, ends } = reference.shares(logits, k, TEMPERATURE);
      // Just inside both ends of every share that is wide enough to have an inside.
      const cases = words.flatMap((word, i) => {
        const start = ends[i - 1] ?? 0;
        if (ends[i] - start < 4 * EDGE) return [];
        return [start + EDGE, ends[i] - EDGE].map((roll) => ({ word, roll }));
      });
      const got = await drawn(
        gpu,
        logits,
        cases.map(({ roll }) => roll),
        k,
      );
      expect(cases.length).toBeGreaterThan(Math.min(k, V));
      expect(got, `V=${V} k=${k}`).toEqual(cases.map(({ word }) => word));
    }
  },
  undefined,
  ['f32'],
);

testVariants(
  'of equal logits the lower ids come first, and words without a chance are never drawn',
  async (gpu) => {
    const equal = Array(50).fill(0);
    expect(await drawn(gpu, equal, [0, 0.51, 0.999], 40)).toEqual([0, 20, 39]);
    const ruledOut = equal.map((_, v) => (v % 10 === 7 ? 1 : Number.NEGATIVE_INFINITY));
    expect(await drawn(gpu, ruledOut, [0, 0.3, 0.5, 0.7, 0.999, 1], 40)).toEqual([
      7, 17, 27, 37, 47, 7,
    ]);
  },
  undefined,
  ['f32'],
);

testVariants(
  'a row without a number still gives a word of the vocabulary',
  async (gpu) => {
    const [token] = await drawn(gpu, Array(50).fill(Number.NaN), [0.5], 40);
    expect(token).toBeLessThan(50);
  },
  undefined,
  ['f32'],
);

it('the twin gives each word its part of the range', () => {
  const { words, ends } = reference.shares([0, Math.log(4), Math.log(3)], 2, 1);
  expect(words).toEqual([1, 2]);
  expect(ends[0]).toBeCloseTo(4 / 7, 12);
  expect(ends[1]).toBeCloseTo(1, 12);
});
