// The checks of the optimiser: a good step whose gradient is clipped, and a bad one that must not
// change anything.

import { bufferOf } from '../gpu/program';
import { columnSum } from '../kernels/column_sum';
import {
  type AdamW,
  initialScaler,
  NORM_PARTIALS,
  optimiserStep,
  updateSums,
} from '../kernels/optimiser';
import { SCALER, STEP } from '../kernels/sources';
import * as reference from '../reference';
import { type Check, check, EXACT, stored16, type Tolerance } from './check';
import { type Storage, stored, structValues } from './tensors';

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
  reason: '200 squares are summed in f32: 200 · 2^-24 at most.',
};
const ADAMW: Tolerance = {
  value: 1e-5,
  reason:
    'A dozen f32 operations, and 1 − β₂ loses 2^-24 / (1 − β₂) at the first step; ' +
    'a wrong constant shows as 1e-3.',
};

/** Where fields of the scaler's state lie, in elements. */
const fieldsAt = (...names: string[]) =>
  names.map((name) => SCALER.fields.findIndex((field) => field.name === name));

export function optimiserChecks(dtype: Storage): Check[] {
  // The moments are f32 in either case.
  const update = dtype === 'f32' ? [updateCheck()] : [];
  return [step(dtype, true), step(dtype, false), ...update];
}

/** One step; a bad one has an infinite gradient. In f16 it also writes the copy of the weights. */
function step(dtype: Storage, good: boolean): Check {
  const start = stored(numbers(COUNT, 1), 'f32');
  const gradients = stored(
    numbers(COUNT, 4, 3 * SCALE).map((value, i) =>
      good || i !== 130 ? value : Number.POSITIVE_INFINITY,
    ),
    'f32',
  );
  const expected = { w: start.slice(), m: new Float64Array(COUNT), v: new Float64Array(COUNT) };
  const unscaled = gradients.map((value) => value / SCALE);
  const norm = reference.norm(unscaled);
  if (good) {
    reference.clipGradients([unscaled], ADAM.maxGradNorm);
    for (const [from, to, weightDecay] of [
      [0, DECAYED, ADAM.weightDecay],
      [DECAYED, COUNT, 0],
    ]) {
      const range = (values: Float64Array) => values.subarray(from, to);
      const options = { ...ADAM, learningRate: LEARNING_RATE, weightDecay };
      reference.adamW(
        range(expected.w),
        range(unscaled),
        range(expected.m),
        range(expected.v),
        1,
        options,
      );
    }
  }
  const scaler = reference.updateScaler({ scale: SCALE, goodSteps: 0 }, good);
  const state = structValues(SCALER, {
    scale: scaler.scale,
    good_steps: scaler.goodSteps,
    applied: Number(good),
    skipped: Number(!good),
    apply: Number(good),
    used_scale: SCALE,
  });
  const exact = fieldsAt('scale', 'good_steps', 'applied', 'skipped', 'apply', 'used_scale');
  const tolerance = good ? ADAMW : EXACT;
  const arena = { layout: [COUNT] };
  return check({
    kernel: `gradient_norm, loss_scaler, adamw: a ${good ? 'good' : 'bad'} step`,
    sizes: `${COUNT}`,
    dtype,
    layout: 'contiguous',
    inputs: {
      gradients: { values: gradients, ...arena },
      master: { values: start, ...arena },
      mean: { values: new Float64Array(COUNT), ...arena },
      square: { values: new Float64Array(COUNT), ...arena },
      halves: { values: start, ...arena, dtype: 'f16' },
      step: {
        values: structValues(STEP, { learning_rate: LEARNING_RATE, inverse_tokens: 1 / 10 }),
        layout: [STEP.fields.length],
      },
      scaler: {
        values: new Float32Array(initialScaler(SCALE)),
        layout: [SCALER.fields.length],
      },
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
      { tensor: 'scaler', at: exact, expected: exact.map((at) => state[at]), tolerance: EXACT },
      // The norm of an infinite gradient does not matter.
      ...(good
        ? [{ tensor: 'scaler' as const, at: fieldsAt('norm'), expected: [norm], tolerance: NORM }]
        : []),
      { tensor: 'master', expected: expected.w, tolerance },
      { tensor: 'mean', expected: expected.m, tolerance },
      { tensor: 'square', expected: expected.v, tolerance },
      {
        tensor: 'halves',
        expected: stored(dtype === 'f16' ? expected.w : start, 'f16'),
        tolerance: dtype === 'f16' && good ? stored16(ADAMW, 'f16') : EXACT,
      },
    ],
  });
}

/** How far the tenth step moved the weights. */
function updateCheck(): Check {
  const STEP_NUMBER = 10;
  const start = stored(numbers(COUNT, 1), 'f32');
  const mean = stored(numbers(COUNT, 2), 'f32');
  const square = stored(
    numbers(COUNT, 3).map((value) => value * value),
    'f32',
  );
  const sums = [
    [0, DECAYED, ADAM.weightDecay],
    [DECAYED, COUNT, 0],
  ].map(([from, to, weightDecay]) => {
    const range = (values: Float64Array) => values.subarray(from, to);
    return reference.updateSums(range(start), range(mean), range(square), STEP_NUMBER, {
      ...ADAM,
      learningRate: LEARNING_RATE,
      weightDecay,
    });
  });
  const arena = { layout: [COUNT] };
  const state = structValues(SCALER, {
    scale: SCALE,
    applied: STEP_NUMBER,
    apply: 1,
    power1: ADAM.beta1 ** STEP_NUMBER,
    power2: ADAM.beta2 ** STEP_NUMBER,
  });
  return check({
    kernel: 'update_ratio',
    sizes: `${COUNT}`,
    dtype: 'f32',
    layout: 'contiguous',
    inputs: {
      master: { values: start, ...arena },
      mean: { values: mean, ...arena },
      square: { values: square, ...arena },
      step: {
        values: structValues(STEP, { learning_rate: LEARNING_RATE, inverse_tokens: 1 / 10 }),
        layout: [STEP.fields.length],
      },
      scaler: { values: state, layout: [SCALER.fields.length] },
      // Each range is few enough elements for two workgroups, and so for two partial sums.
      partials: { values: new Float64Array(2 * NORM_PARTIALS), layout: [NORM_PARTIALS, 2] },
      totals: { values: new Float64Array(2), layout: [2] },
    },
    record: (recorder, { master, mean, square, step, scaler, partials, totals }) => {
      updateSums(
        recorder,
        { master: [master.place], mean: [mean.place], square: [square.place] },
        { step: bufferOf(step), scaler: bufferOf(scaler), partials: bufferOf(partials) },
        { bufferSizes: [COUNT], decayed: DECAYED },
        ADAM,
      );
      columnSum(recorder, partials, totals);
    },
    outputs: [0, 1].map((column) => ({
      tensor: 'totals' as const,
      at: [column],
      expected: [sums[0][column] + sums[1][column]],
      tolerance: ADAMW,
    })),
  });
}
