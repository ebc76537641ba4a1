// The optimiser's kernels against the reference AdamW and GradScaler, over scripted steps: with
// small gradients, gradients that are clipped, and gradients that are not finite.
//
// Tolerances. A step changes a parameter by the learning rate times a ratio of a dozen f32
// operations, so by an error of 12 · 2^-24 = 1e-6 of itself; at first 1 − β₂ᵗ loses more,
// 2^-24 / (1 − β₂) = 1.2e-6. Over ten steps and for parameters near 1, 1e-5 is far above that, and
// far below the effect of a wrong constant (1e-3). The f16 copy rounds once, up or down: 2^-10.

import { expect, it } from 'vitest';
import { structValues } from '../../src/check/tensors';
import type { Gpu } from '../../src/gpu/device';
import { Pool, Recorder, type Tensor } from '../../src/gpu/program';
import {
  type AdamW,
  initialScaler,
  NORM_PARTIALS,
  optimiserStep,
} from '../../src/kernels/optimiser';
import { SCALER, STEP } from '../../src/kernels/sources';
import * as reference from '../../src/reference';
import {
  download,
  expectClose,
  openVariant,
  type Storage,
  stored,
  testVariants,
  upload,
  zeros,
} from './variants';

const { numbers } = reference;
const ADAM = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
  dynamicScale: true,
};
const LEARNING_RATE = 1e-2;
const { NaN: NAN, POSITIVE_INFINITY: INFINITE } = Number;

/** A range with decay and one without, both larger than a workgroup. */
const SMALL = { count: 200, decayed: 128 };
/** More elements than the norm has threads. */
const LARGE = { count: 17_000, decayed: 128 };

/** Arenas of `count` elements, with the optimiser recorded over them. */
async function setUp(
  gpu: Gpu,
  dtype: Storage,
  sizes: { count: number; decayed: number },
  adam: AdamW,
  scale: number,
) {
  const { count } = sizes;
  const start = stored(numbers(count, 1), 'f32').map(Math.fround);
  const tensors = {
    gradients: zeros(gpu, 'gradients', [count]),
    master: upload(gpu, 'master', start, [count]),
    mean: zeros(gpu, 'mean', [count]),
    square: zeros(gpu, 'square', [count]),
    halves: dtype === 'f16' ? upload(gpu, 'halves', start, [count], 'f16') : undefined,
  };
  const buffers = {
    step: gpu.memory.create(
      'data',
      'step',
      STEP.bytes,
      GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    ),
    scaler: gpu.memory.create('data', 'scaler', SCALER.bytes),
    partials: gpu.memory.create('data', 'partials', NORM_PARTIALS * 8),
  };
  const { queue } = gpu.device;
  queue.writeBuffer(buffers.scaler, 0, initialScaler(scale));
  const readScaler = async () => SCALER.read(await gpu.read(buffers.scaler));
  const setScaler = async (fields: { scale: number; good_steps?: number }) =>
    queue.writeBuffer(
      buffers.scaler,
      0,
      SCALER.write({ ...(await readScaler()), good_steps: 0, ...fields }),
    );

  const recorder = new Recorder(gpu, new Pool(gpu));
  const { gradients, master, mean, square, halves } = tensors;
  const places = {
    gradients: [gradients.place],
    master: [master.place],
    mean: [mean.place],
    square: [square.place],
    halves: halves && [halves.place],
  };
  optimiserStep(recorder, places, buffers, { bufferSizes: [count], decayed: sizes.decayed }, adam);
  const program = await recorder.build('optimiser');

  /** One step with these gradients, which are scaled as the arena has them. */
  const step = async (values: reference.Numbers, tokens = 10): Promise<Record<string, number>> => {
    const inverse_tokens = tokens > 0 ? 1 / tokens : 0;
    const uniform = structValues(STEP, { learning_rate: LEARNING_RATE, inverse_tokens });
    queue.writeBuffer(buffers.step, 0, uniform);
    queue.writeBuffer(gradients.place.buffer as GPUBuffer, 0, Float32Array.from(values));
    const encoder = gpu.device.createCommandEncoder();
    program.encode(encoder);
    queue.submit([encoder.finish()]);
    return readScaler();
  };
  const results = { master, mean, square, ...(halves && { halves }) };
  const bits = async () =>
    Promise.all(
      Object.values(results).map(async ({ place }: Tensor) => [
        ...new Uint32Array(await gpu.read(place.buffer as GPUBuffer)),
      ]),
    );
  return { start, tensors, step, setScaler, bits };
}

/** Small gradients, except for one element. */
const spoiled = (count: number, at: number, value: number) =>
  numbers(count, 3, 0.01).map((g, i) => (i === at ? value : g));

for (const [name, sizes] of Object.entries({ SMALL, LARGE })) {
  testVariants(
    `ten steps, good and bad, over ${name === 'SMALL' ? 'few' : 'many'} elements`,
    async (gpu, dtype) => {
      const { count, decayed } = sizes;
      let scaler: reference.Scaler = { scale: 256, goodSteps: 0 };
      const { start, tensors, step, bits } = await setUp(gpu, dtype, sizes, ADAM, scaler.scale);
      const expected = {
        w: Float64Array.from(start),
        m: new Float64Array(count),
        v: new Float64Array(count),
      };
      let [applied, skipped] = [0, 0];
      const small = numbers(count, 2, 0.01);
      const large = numbers(count, 4, 3);
      // Unscaled gradients. Some are not finite at the first, a middle or the last element; some
      // are finite, but their sum of squares is not.
      const script = [
        ...[small, large, spoiled(count, 0, INFINITE), spoiled(count, count - 1, NAN), large],
        ...[
          spoiled(count, 130, -INFINITE),
          small,
          new Float64Array(count).fill(1e30),
          small,
          large,
        ],
      ];
      for (const [i, raw] of script.entries()) {
        const gradients = raw.map((g) => Math.fround(g * scaler.scale));
        const before = await bits();
        const state = await step(gradients);
        const g = gradients.map((value) => value / scaler.scale);
        const finite = g.every(Number.isFinite) && raw[0] < 1e20;
        expect(state.used_scale, `step ${i}`).toBe(scaler.scale);
        if (finite) {
          applied++;
          expectClose(
            [state.norm],
            [reference.clipGradients([g], ADAM.maxGradNorm)],
            1e-5,
            `norm of step ${i}`,
          );
          for (const [from, to, weightDecay] of [
            [0, decayed, ADAM.weightDecay],
            [decayed, count, 0],
          ]) {
            const range = (x: Float64Array) => x.subarray(from, to);
            const options = { ...ADAM, learningRate: LEARNING_RATE, weightDecay };
            reference.adamW(
              range(expected.w),
              range(g),
              range(expected.m),
              range(expected.v),
              applied,
              options,
            );
          }
        } else {
          skipped++;
          expect(await bits(), `step ${i} is bad and changes nothing`).toEqual(before);
        }
        scaler = reference.updateScaler(scaler, finite);
        expect(state, `step ${i}`).toMatchObject({
          scale: scaler.scale,
          good_steps: scaler.goodSteps,
          applied,
          skipped,
          apply: Number(finite),
        });
      }
      expect([applied, skipped]).toEqual([6, 4]);
      const master = await download(gpu, tensors.master);
      expectClose(master, expected.w, 1e-5, 'parameters');
      expectClose(await download(gpu, tensors.mean), expected.m, 1e-5, 'first moments');
      expectClose(await download(gpu, tensors.square), expected.v, 1e-5, 'second moments');
      if (tensors.halves)
        expectClose(await download(gpu, tensors.halves), master, 2 ** -10, 'f16 copy');
    },
    ['one lane', 'many lanes'],
  );
}

const good = numbers(SMALL.count, 2, 0.01);

it('clips to the given norm, and never with 0', async () => {
  const gpu = await openVariant('many lanes');
  const large = numbers(SMALL.count, 4, 3);
  // With β₁ = 0 the first moment is the gradient that was applied.
  for (const [maxGradNorm, norm] of [
    [0.5, 0.5],
    [0, reference.norm(large)],
    [1000, reference.norm(large)],
  ]) {
    const { tensors, step } = await setUp(gpu, 'f32', SMALL, { ...ADAM, beta1: 0, maxGradNorm }, 1);
    await step(large);
    expect(reference.norm(await download(gpu, tensors.mean)), `clip at ${maxGradNorm}`).toBeCloseTo(
      norm,
      4,
    );
  }
});

it('doubles the scale after 2000 good steps, counted from the last change', async () => {
  const { step, setScaler } = await setUp(await openVariant('many lanes'), 'f32', SMALL, ADAM, 512);
  await setScaler({ scale: 512, good_steps: 1998 });
  expect(await step(good)).toMatchObject({ scale: 512, good_steps: 1999, used_scale: 512 });
  expect(await step(good)).toMatchObject({ scale: 1024, good_steps: 0, used_scale: 512 });
  expect(await step(good)).toMatchObject({ scale: 1024, good_steps: 1, used_scale: 1024 });
  await setScaler({ scale: 1024, good_steps: 1999 });
  expect(await step(spoiled(SMALL.count, 3, NAN))).toMatchObject({
    scale: 512,
    good_steps: 0,
    used_scale: 1024,
  });
});

it('never scales below 1, nor beyond the range of f32', async () => {
  const { step, setScaler } = await setUp(await openVariant('many lanes'), 'f32', SMALL, ADAM, 2);
  const bad = spoiled(SMALL.count, 7, INFINITE);
  expect(await step(bad)).toMatchObject({ scale: 1, used_scale: 2 });
  expect(await step(bad)).toMatchObject({ scale: 1, used_scale: 1 });
  await setScaler({ scale: 1.5 });
  expect(await step(bad)).toMatchObject({ scale: 1 });
  await setScaler({ scale: 2 ** 127, good_steps: 1999 });
  expect(await step(new Float64Array(SMALL.count))).toMatchObject({
    scale: 2 ** 127,
    good_steps: 0,
    apply: 1,
  });
});

it('a fixed scale stays as it is, whatever the step', async () => {
  const { step, bits } = await setUp(
    await openVariant('many lanes'),
    'f32',
    SMALL,
    { ...ADAM, dynamicScale: false },
    1,
  );
  await step(good);
  const before = await bits();
  expect(await step(spoiled(SMALL.count, 7, INFINITE))).toMatchObject({
    scale: 1,
    good_steps: 0,
    applied: 1,
    skipped: 1,
  });
  expect(await bits()).toEqual(before);
});

it('skips a step without a valid target, and does not count it for the scale', async () => {
  const { step, setScaler, bits } = await setUp(
    await openVariant('many lanes'),
    'f32',
    SMALL,
    ADAM,
    512,
  );
  await step(good);
  await setScaler({ scale: 512, good_steps: 1999 });
  const before = await bits();
  const state = await step(new Float64Array(SMALL.count), 0);
  expect(state).toMatchObject({ scale: 512, good_steps: 1999, applied: 1, skipped: 1, apply: 0 });
  expect(await bits()).toEqual(before);
  expect(await step(good)).toMatchObject({ scale: 1024, applied: 2, skipped: 1, apply: 1 });
});
