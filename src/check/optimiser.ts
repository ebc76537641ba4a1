// The checks of what turns gradients into a step: a good step that is clipped, and one that must
// change nothing.

import { bufferOf } from '../gpu/program';
import { type AdamW, NORM_PARTIALS, optimiserStep, SCALER_BYTES } from '../kernels/optimiser';
import * as reference from '../reference';
import { type Check, check, EXACT, stored16, type Tolerance } from './check';
import { type Storage, stored } from './tensors';

const { numbers } = reference;
const ADAM: AdamW = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  maxGradNorm: 1,
  dynamicScale: true,
};
const [COUNT, DECAYED] = [200, 128];
const LEARNING_RATE = 1e-2;
const SCALE = 256;

const NORM: Tolerance = {
  value: 1e-5,
  reason: '200 squares are summed in f32: 200 · 2^-24 at the most.',
};
const ADAMW: Tolerance = {
  value: 1e-5,
  reason:
    'A dozen f32 operations, and 1 − β₂ loses 2^-24 / (1 − β₂) at the first step; a wrong constant shows as 1e-3.',
};

/**
 * The f32 number with the bits of an unsigned integer: the scaler's counters lie among its f32
 * fields.
 */
const asFloat = (word: number) => new Float32Array(new Uint32Array([word]).buffer)[0];

export function optimiserChecks(dtype: Storage): Check[] {
  return [step(dtype, true), step(dtype, false)];
}

/**
 * One optimiser step; a bad one has an infinite gradient. The f16 one writes the weights' f16 copy
 * as well.
 */
function step(dtype: Storage, good: boolean): Check {
  const start = stored(numbers(COUNT, 1), 'f32');
  const gradients = stored(
    numbers(COUNT, 4, 3 * SCALE).map((value, i) =>
      good || i !== 130 ? value : Number.POSITIVE_INFINITY,
    ),
    'f32',
  );
  const truth = { w: start.slice(), m: new Float64Array(COUNT), v: new Float64Array(COUNT) };
  const unscaled = gradients.map((value) => value / SCALE);
  const norm = reference.norm(unscaled);
  if (good) {
    reference.clipGradients([unscaled], ADAM.maxGradNorm);
    for (const [from, to, weightDecay] of [
      [0, DECAYED, ADAM.weightDecay],
      [DECAYED, COUNT, 0],
    ]) {
      const part = (values: Float64Array) => values.subarray(from, to);
      const options = { ...ADAM, learningRate: LEARNING_RATE, weightDecay };
      reference.adamW(part(truth.w), part(unscaled), part(truth.m), part(truth.v), 1, options);
    }
  }
  const scaler = reference.updateScaler({ scale: SCALE, goodSteps: 0 }, good);
  const words = [scaler.goodSteps, Number(good), Number(!good), Number(good)].map(asFloat);
  const state = new Float64Array(SCALER_BYTES / 4);
  state.set([SCALE, 0, 0, 0, 0, 0, 1, 1]);
  const kept = good ? ADAMW : EXACT;
  const arena = { layout: [COUNT] };
  return check({
    kernel: `gradientNorm, lossScaler, adamw: a ${good ? 'good' : 'bad'} step`,
    sizes: `${COUNT}`,
    dtype,
    layout: 'contiguous',
    inputs: {
      gradients: { values: gradients, ...arena },
      master: { values: start, ...arena },
      mean: { values: new Float64Array(COUNT), ...arena },
      square: { values: new Float64Array(COUNT), ...arena },
      halves: { values: start, ...arena, dtype: 'f16' },
      step: { values: [LEARNING_RATE, 1, 1, 1 / 10], layout: [4] },
      scaler: { values: state, layout: [state.length] },
      partials: { values: new Float64Array(2 * NORM_PARTIALS), layout: [NORM_PARTIALS, 2] },
    },
    record: (recorder, tensors) => {
      const { gradients, master, mean, square, halves } = tensors;
      const places = {
        gradients: [gradients.place],
        master: [master.place],
        mean: [mean.place],
        square: [square.place],
      };
      const buffers = {
        step: bufferOf(tensors.step),
        scaler: bufferOf(tensors.scaler),
        partials: bufferOf(tensors.partials),
      };
      const sizes = { bufferSizes: [COUNT], decayed: DECAYED };
      optimiserStep(
        recorder,
        { ...places, halves: dtype === 'f16' ? [halves.place] : undefined },
        buffers,
        sizes,
        ADAM,
      );
    },
    outputs: [
      { tensor: 'scaler', at: [0, 9], expected: [scaler.scale, SCALE], tolerance: EXACT },
      { tensor: 'scaler', at: [1, 2, 3, 4], expected: words, tolerance: EXACT },
      // The norm of a gradient that is not finite is not looked at.
      ...(good ? [{ tensor: 'scaler' as const, at: [8], expected: [norm], tolerance: NORM }] : []),
      { tensor: 'master', expected: truth.w, tolerance: kept },
      { tensor: 'mean', expected: truth.m, tolerance: kept },
      { tensor: 'square', expected: truth.v, tolerance: kept },
      {
        tensor: 'halves',
        expected: stored(dtype === 'f16' ? truth.w : start, 'f16'),
        tolerance: dtype === 'f16' && good ? stored16(ADAMW, 'f16') : EXACT,
      },
    ],
  });
}
