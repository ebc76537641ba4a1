// Training that slices its logits, as scripts do, on each path: it gives the same gradients as
// shifted labels, or PyTorch's error.
//
// Every path adds the same numbers in the same order, except for zeros. The tolerance, 1e-6
// relative, allows a few f32 roundings.

import { expect, it } from 'vitest';
import type { Config } from '../../src/config';
import { type Batch, IGNORED_TARGET } from '../../src/data/batches';
import { detached } from '../../src/distill/bug-lab/detached';
import type { Gpu } from '../../src/gpu/device';
import * as reference from '../../src/reference';
import { BYTES } from '../../src/tensor/dtype';
import { ADAM, batchOf, joined, startTrainer, TINY } from './students';
import { openVariant, type Storage, testVariants } from './variants';

const [B, T, V] = [3, 7, TINY.vocab_size];
const LIMIT = 1e-6;
type Path = Config['train_loss_path'];

/** The batch without labels for the last position, as in a slice. */
const withoutLast = (batch: Batch, length = T): Batch => ({
  ...batch,
  targets: batch.targets.map((target, i) => (i % length === length - 1 ? IGNORED_TARGET : target)),
});

/** Records and gradients of two steps, of which the second has two batches. */
async function train(
  gpu: Gpu,
  lossPath: Path,
  batches: Batch[],
  settings: { dtype: Storage; shape?: [number, number] },
) {
  const { dtype, shape = [B, T] } = settings;
  const run = await startTrainer(gpu, {
    batchSize: shape[0],
    contextLength: shape[1],
    dtype,
    lossPath,
  });
  const first = await run.step([batches[0]]);
  const second = await run.step(batches);
  const gradients = [...(await run.gradients()).values()].flatMap((data) => [...data]);
  const { bytesCopied } = run.trainer;
  await run.end();
  return { first, second, gradients, bytesCopied };
}

type Trained = Awaited<ReturnType<typeof train>>;
const figures = ({ first, second }: Trained) =>
  [first, second].flatMap(({ loss, ce, kd, gradNorm, tokens }) => [loss, ce, kd, gradNorm, tokens]);

function expectSame(actual: Trained, expected: Trained): void {
  expect(reference.relativeError(figures(actual), figures(expected))).toBeLessThan(LIMIT);
  expect(reference.relativeError(actual.gradients, expected.gradients)).toBeLessThan(LIMIT);
}

const batches = [batchOf(TINY, B, T, 1, 1), batchOf(TINY, B, T, 2, 3)];

testVariants('strided and reshaped slices train like shifted labels', async (gpu, dtype) => {
  const labels = await train(
    gpu,
    'labels',
    batches.map((batch) => withoutLast(batch)),
    { dtype },
  );
  const strided = await train(gpu, 'strided', batches, { dtype });
  const reshaped = await train(gpu, 'reshape', batches, { dtype });
  expectSame(strided, labels);
  expectSame(reshaped, labels);
  // The denominator is the number of valid labels in the slice.
  const counted = joined(batches.map((batch) => withoutLast(batch))).targets.filter(
    (t) => t !== IGNORED_TARGET,
  ).length;
  expect(strided.second.tokens).toBe(counted);
  // Reshape copies the student's slice and its gradient, both f32, and the teacher's slice.
  expect([labels.bytesCopied, strided.bytesCopied]).toEqual([0, 0]);
  expect(reshaped.bytesCopied).toBe(B * (T - 1) * V * (4 + 4 + BYTES[dtype]));
});

it.each([
  ['one sequence', [1, 7]],
  ['two tokens', [3, 2]],
] as [string, [number, number]][])(
  'with %s view trains, and reshape copies nothing',
  async (_, shape) => {
    const gpu = await openVariant('one lane');
    const few = [batchOf(TINY, ...shape, 1), batchOf(TINY, ...shape, 2)];
    const labels = await train(
      gpu,
      'labels',
      few.map((batch) => withoutLast(batch, shape[1])),
      { dtype: 'f32', shape },
    );
    for (const path of ['view', 'reshape'] as const) {
      const trained = await train(gpu, path, few, { dtype: 'f32', shape });
      expectSame(trained, labels);
      expect(trained.bytesCopied, path).toBe(0);
    }
  },
);

it('with more of both, each step on view throws PyTorch’s error and changes nothing', async () => {
  const gpu = await openVariant('one lane');
  const before = gpu.memory.totals();
  const run = await startTrainer(gpu, { batchSize: B, contextLength: T, lossPath: 'view' });
  const start = await run.trainer.snapshot(0);
  for (const batch of batches) {
    await expect(run.step([batch])).rejects.toThrow(
      "view size is not compatible with input tensor's size and stride (at least one dimension " +
        'spans across two contiguous subspaces). Use .reshape(...) instead.\n' +
        `view([-1, ${V}]) on sizes [${B}, ${T - 1}, ${V}], strides [${T * V}, ${V}, 1], offset 0`,
    );
  }
  expect(await run.trainer.snapshot(0)).toEqual(start);
  expect(run.records).toEqual([]);
  await run.end();
  expect(gpu.memory.totals()).toEqual(before);
});

testVariants(
  'a detached loss is measured and trains nothing; a static scale that overflows skips every step',
  async (gpu, dtype) => {
    const adam = { ...ADAM, weightDecay: 0 };
    // At this scale f16 gradients overflow; f32 needs an infinite scale.
    const initialLossScale = dtype === 'f16' ? 2 ** 32 : Number.POSITIVE_INFINITY;
    for (const [fault, signature] of [
      [{ architecture: detached }, { gradNorm: 0, applied: true, skippedTotal: 0 }],
      [
        { initialLossScale, lossScaling: 'static' },
        { gradNorm: Number.NaN, applied: false, appliedTotal: 0, lossScale: initialLossScale },
      ],
    ] as const) {
      const run = await startTrainer(gpu, {
        batchSize: B,
        contextLength: T,
        dtype,
        adam,
        ...fault,
      });
      const start = await run.trainer.snapshot(0);
      const losses = [];
      for (let step = 0; step < 3; step++) {
        const record = await run.step([batches[0]]);
        expect(record).toMatchObject(signature);
        losses.push(record.loss);
      }
      expect(losses[0]).toBeGreaterThan(0);
      expect(new Set(losses).size).toBe(1);
      expect((await run.trainer.snapshot(0)).master).toEqual(start.master);
      await run.end();
    }
  },
);
