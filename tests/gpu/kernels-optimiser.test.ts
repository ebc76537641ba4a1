// The optimiser's kernels against the slow AdamW and GradScaler, over scripted steps: small
// gradients, ones that are clipped, and ones that are not finite.
//
// Tolerances. A step changes a parameter by learning rate × a ratio that a dozen f32 operations
// make: 12 · 2^-24 = 1e-6 of it, and 1 − β₂ᵗ loses more at first, 2^-24 / (1 − β₂) = 1.2e-6.
// Relative to parameters near 1 and over ten steps: 1e-5 is far above that, and far below what a
// wrong constant does (1e-3). The f16 copy is one rounding, up or down: 2^-10.

import { expect, it } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { Pool, Recorder, type Tensor } from '../../src/gpu/program';
import {
  type AdamW,
  NORM_PARTIALS,
  optimiserStep,
  SCALER_BYTES,
} from '../../src/kernels/optimiser';
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

/**
 * A range with decay and one without, both larger than one workgroup; or more elements than the
 * norm has threads.
 */
const SMALL = { count: 200, decayed: 128 };
const LARGE = { count: 17_000, decayed: 128 };

interface State {
  scale: number;
  goodSteps: number;
  applied: number;
  skipped: number;
  apply: number;
  norm: number;
  usedScale: number;
}

/** Arenas of `count` elements with the optimiser recorded over them. */
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
    step: gpu.memory.create('data', 'step', 16, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST),
    scaler: gpu.memory.create('data', 'scaler', SCALER_BYTES),
    partials: gpu.memory.create('data', 'partials', NORM_PARTIALS * 8),
  };
  const { queue } = gpu.device;
  const setScale = (value: number, goodSteps = 0) => {
    queue.writeBuffer(buffers.scaler, 0, new Float32Array([value]));
    queue.writeBuffer(buffers.scaler, 4, new Uint32Array([goodSteps]));
  };
  queue.writeBuffer(buffers.scaler, 24, new Float32Array([1, 1])); // β₁⁰ and β₂⁰
  setScale(scale);

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

  const read = async (): Promise<State> => {
    const bytes = await gpu.read(buffers.scaler);
    const [floats, words] = [new Float32Array(bytes), new Uint32Array(bytes)];
    return {
      scale: floats[0],
      goodSteps: words[1],
      applied: words[2],
      skipped: words[3],
      apply: words[4],
      norm: floats[8],
      usedScale: floats[9],
    };
  };
  /** One step with these gradients, as they lie in the arena: scaled. */
  const step = async (values: reference.Numbers, tokens = 10): Promise<State> => {
    const uniform = new Float32Array([LEARNING_RATE, 1, 1, tokens > 0 ? 1 / tokens : 0]);
    queue.writeBuffer(buffers.step, 0, uniform);
    queue.writeBuffer(gradients.place.buffer as GPUBuffer, 0, Float32Array.from(values));
    const encoder = gpu.device.createCommandEncoder();
    program.encode(encoder);
    queue.submit([encoder.finish()]);
    return read();
  };
  const kept = { master, mean, square, ...(halves && { halves }) };
  const bits = async () =>
    Promise.all(
      Object.values(kept).map(async ({ place }: Tensor) => [
        ...new Uint32Array(await gpu.read(place.buffer as GPUBuffer)),
      ]),
    );
  return { start, tensors, step, setScale, bits };
}

/** One element of otherwise small gradients is replaced. */
const spoiled = (count: number, at: number, by: number) =>
  numbers(count, 3, 0.01).map((g, i) => (i === at ? by : g));

for (const [name, sizes] of Object.entries({ SMALL, LARGE })) {
  testVariants(
    `ten steps, good and bad ones, over ${name === 'SMALL' ? 'few' : 'many'} elements`,
    async (gpu, dtype) => {
      const { count, decayed } = sizes;
      let scaler: reference.Scaler = { scale: 256, goodSteps: 0 };
      const { start, tensors, step, bits } = await setUp(gpu, dtype, sizes, ADAM, scaler.scale);
      const truth = {
        w: Float64Array.from(start),
        m: new Float64Array(count),
        v: new Float64Array(count),
      };
      let [applied, skipped] = [0, 0];
      const small = numbers(count, 2, 0.01);
      const large = numbers(count, 4, 3);
      // Unscaled gradients. Not finite at the first, at some and at the last element; finite ones
      // whose sum of squares is not.
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
        expect(state.usedScale, `step ${i}`).toBe(scaler.scale);
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
            const part = (x: Float64Array) => x.subarray(from, to);
            const options = { ...ADAM, learningRate: LEARNING_RATE, weightDecay };
            reference.adamW(part(truth.w), part(g), part(truth.m), part(truth.v), applied, options);
          }
        } else {
          skipped++;
          expect(await bits(), `step ${i} is bad and changes nothing`).toEqual(before);
        }
        scaler = reference.updateScaler(scaler, finite);
        expect(state, `step ${i}`).toMatchObject({
          ...scaler,
          applied,
          skipped,
          apply: Number(finite),
        });
      }
      expect([applied, skipped]).toEqual([6, 4]);
      const master = await download(gpu, tensors.master);
      expectClose(master, truth.w, 1e-5, 'parameters');
      expectClose(await download(gpu, tensors.mean), truth.m, 1e-5, 'first moments');
      expectClose(await download(gpu, tensors.square), truth.v, 1e-5, 'second moments');
      if (tensors.halves)
        expectClose(await download(gpu, tensors.halves), master, 2 ** -10, 'f16 copy');
    },
    ['one lane', 'many lanes'],
  );
}

const good = numbers(SMALL.count, 2, 0.01);

it('clips to the norm that is asked for, and never with 0', async () => {
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
  const { step, setScale } = await setUp(await openVariant('many lanes'), 'f32', SMALL, ADAM, 512);
  setScale(512, 1998);
  expect(await step(good)).toMatchObject({ scale: 512, goodSteps: 1999, usedScale: 512 });
  expect(await step(good)).toMatchObject({ scale: 1024, goodSteps: 0, usedScale: 512 });
  expect(await step(good)).toMatchObject({ scale: 1024, goodSteps: 1, usedScale: 1024 });
  setScale(1024, 1999);
  expect(await step(spoiled(SMALL.count, 3, NAN))).toMatchObject({
    scale: 512,
    goodSteps: 0,
    usedScale: 1024,
  });
});

it('never scales below 1, and not beyond what f32 holds', async () => {
  const { step, setScale } = await setUp(await openVariant('many lanes'), 'f32', SMALL, ADAM, 2);
  const bad = spoiled(SMALL.count, 7, INFINITE);
  expect(await step(bad)).toMatchObject({ scale: 1, usedScale: 2 });
  expect(await step(bad)).toMatchObject({ scale: 1, usedScale: 1 });
  setScale(1.5);
  expect(await step(bad)).toMatchObject({ scale: 1 });
  setScale(2 ** 127, 1999);
  expect(await step(new Float64Array(SMALL.count))).toMatchObject({
    scale: 2 ** 127,
    goodSteps: 0,
    apply: 1,
  });
});

it('leaves a scale alone that is not to adapt', async () => {
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
    goodSteps: 0,
    applied: 1,
    skipped: 1,
  });
  expect(await bits()).toEqual(before);
});

it('skips a step without a valid target, which says nothing about the scale', async () => {
  const { step, setScale, bits } = await setUp(
    await openVariant('many lanes'),
    'f32',
    SMALL,
    ADAM,
    512,
  );
  await step(good);
  setScale(512, 1999);
  const before = await bits();
  const state = await step(new Float64Array(SMALL.count), 0);
  expect(state).toMatchObject({ scale: 512, goodSteps: 1999, applied: 1, skipped: 1, apply: 0 });
  expect(await bits()).toEqual(before);
  expect(await step(good)).toMatchObject({ scale: 1024, applied: 2, skipped: 1, apply: 1 });
});
