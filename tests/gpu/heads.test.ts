// Attention heads split by a reshape in place of a transpose: loss and gradients are the slow
// twin's, and the model is still causal, which is why the bug raises no error.
//
// Tolerances as in gradients.test.ts: relative norms, f32 1e-4, f16 1e-2.

import { expect, it } from 'vitest';
import { reshapedHeads } from '../../src/distill/bug-lab/reshaped-heads';
import * as reference from '../../src/reference';
import {
  batchOf,
  formulaLogits,
  LIVE,
  referenceWeights,
  startTrainer,
  TINY,
  weightsOf,
} from './students';
import { openVariant, testVariants } from './variants';

// Of 7 tokens each of two heads sees 3½, of 6 tokens 3.
const SHAPES = [
  [3, 7],
  [2, 6],
] as const;
const RESHAPED: reference.GPT2Config = { ...TINY, heads: 'reshaped' };
const LIMIT = { f32: 1e-4, f16: 1e-2 };

for (const [B, T] of SHAPES) {
  testVariants(
    `with reshaped heads, loss and gradients of (${B}, ${T}) are the slow twin’s`,
    async (gpu, dtype) => {
      const batch = batchOf(TINY, B, T, 1, 1);
      const teacherLogits = formulaLogits(batch.inputs, TINY.vocab_size);
      const truth = (config: reference.GPT2Config) =>
        reference.lossAndGradients(
          referenceWeights(TINY, weightsOf(TINY)),
          config,
          [{ B, T, inputs: batch.inputs, targets: batch.targets, teacherLogits }],
          { kind: 'mixed', temperature: LIVE.temperature, alpha: LIVE.alpha },
        );
      const run = await startTrainer(gpu, {
        batchSize: B,
        contextLength: T,
        dtype,
        heads: reshapedHeads,
      });
      const record = await run.step([batch]);
      const gradients = await run.gradients();
      const [expected, transposed] = [truth(RESHAPED), truth(TINY)];
      const flat = (of: (name: string) => reference.Numbers) =>
        [...gradients.keys()].flatMap((name) => Array.from(of(name)));
      const actual = flat((name) => gradients.get(name) as Float32Array);
      expect(reference.relativeError([record.loss], [expected.loss])).toBeLessThan(LIMIT[dtype]);
      expect(
        reference.relativeError(
          actual,
          flat((name) => expected.gradients[name].data),
        ),
      ).toBeLessThan(LIMIT[dtype]);
      // Transposed heads give other gradients: the tolerance is narrow enough to see the bug.
      expect(
        reference.relativeError(
          actual,
          flat((name) => transposed.gradients[name].data),
        ),
      ).toBeGreaterThan(10 * LIMIT[dtype]);
      await run.end();
    },
    ['one lane'],
  );
}

it('gradients through reshaped heads agree with finite differences of the GPU’s loss', async () => {
  // Step and bounds as in gradients.test.ts, on the coordinate with the largest gradient.
  const EPSILON = 1e-2;
  const [B, T] = SHAPES[0];
  const batch = batchOf(TINY, B, T, 1, 1);
  const run = await startTrainer(await openVariant('one lane'), {
    batchSize: B,
    contextLength: T,
    heads: reshapedHeads,
  });
  await run.step([batch], { learningRate: 0 });
  const gradients = await run.gradients();
  const lossWith = async (name: string, at: number, delta: number) => {
    const moved = weightsOf(TINY);
    (moved.get(name) as Float32Array)[at] += delta;
    run.trainer.master.write(moved);
    return (await run.step([batch], { learningRate: 0 })).loss;
  };
  for (const name of [
    'h.0.attn.c_attn.weight',
    'h.1.attn.c_attn.weight',
    'h.0.attn.c_proj.weight',
    'h.0.ln_1.bias',
  ]) {
    const gradient = gradients.get(name) as Float32Array;
    const at = gradient.reduce(
      (best, g, i) => (Math.abs(g) > Math.abs(gradient[best]) ? i : best),
      0,
    );
    const slope =
      ((await lossWith(name, at, EPSILON)) - (await lossWith(name, at, -EPSILON))) / (2 * EPSILON);
    expect(Math.abs(slope - gradient[at]), name).toBeLessThan(1e-2 * Math.abs(gradient[at]) + 1e-4);
  }
  await run.end();
});

it('a model with reshaped heads is causal: no logit depends on a later token', () => {
  for (const [B, T] of SHAPES) {
    const logits = (inputs: Uint32Array) =>
      reference.gpt2Forward(referenceWeights(TINY, weightsOf(TINY)), RESHAPED, inputs, B, T).logits;
    const { inputs } = batchOf(TINY, B, T, 1);
    const before = logits(inputs);
    for (let t = 0; t < T; t++) {
      const after = logits(inputs.with(t, (inputs[t] + 1) % TINY.vocab_size));
      const rows = TINY.vocab_size * t;
      expect(after.slice(0, rows)).toEqual(before.slice(0, rows));
      expect(after.slice(rows)).not.toEqual(before.slice(rows));
    }
  }
});
