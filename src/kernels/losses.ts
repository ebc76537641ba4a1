// The losses' launchers. Each reads student logits, teacher logits and targets through their
// layouts, so that a sliced, transposed or padded tensor needs no copy, and leaves the gradient in
// the student logits' place.

import type { Divergence } from '../divergences';
import {
  bytesOf,
  type DispatchCost,
  type Placement,
  type Recorder,
  type Tensor,
} from '../gpu/program';
import { BYTES } from '../tensor/dtype';
import { kernel } from './sources';
import { ROW_THREADS, rowLanes, scalarOf } from './tensors';
import { type Entries, narrowIds } from './topk';

export interface LossInputs {
  /** (B, T, V) f32, or the rows of one chunk; becomes the gradient where `gradient` is set. */
  student: Tensor;
  /** (B, T) i32 */
  targets: Tensor;
  /** Targets with this value count for nothing. */
  ignoreIndex: number;
  /** (B·T, 2) f32: CE and KL (without T²) of each token, 0 where ignored. */
  perToken: Tensor;
  /** Uniform { learning_rate, temperature, alpha, inverse_tokens }, f32 each. */
  step: Placement | GPUBuffer;
  /** The loss scaler's state; its first f32 is the scale. */
  scaler: Placement | GPUBuffer;
  /**
   * e of the cross-entropy: the share of the target that is spread over the vocabulary. 0 by
   * default.
   */
  labelSmoothing?: number;
  /** l of the cross-entropy: the weight of lse². 0 by default. */
  zLoss?: number;
  /** Write the gradient; without it the logits stay. */
  gradient: boolean;
  /**
   * The rows that `student` and `teacher` hold, of the B·T; all of them by default. A chunk's
   * logits are (rows, V).
   */
  chunk?: { first: number; rows: number };
}

/** Cross-entropy with the targets. */
export function ce(recorder: Recorder, inputs: LossInputs): void {
  const { student, targets, perToken, step, scaler } = inputs;
  const { constants, params, grid } = addressing(recorder, inputs);
  const cost = costOf(inputs, FLOPS.ce);
  const program = kernel(recorder.gpu, 'ce', { constants });
  recorder.dispatch(
    program,
    { step, scaler, student, targets, per_token: perToken },
    params,
    grid,
    cost,
  );
}

export interface DistilInputs extends LossInputs {
  /** (B, T, V) f16 or f32, or the rows of the chunk */
  teacher: Tensor;
  divergence: Divergence;
  /** β of jsd, sfkl and srkl, between 0 and 1. */
  beta: number;
}

/** alpha · T² · KD(teacher, student) + (1 − alpha) · CE. */
export function distil(recorder: Recorder, inputs: DistilInputs): void {
  const { student, targets, perToken, step, scaler, teacher, divergence, beta } = inputs;
  const { constants, params, grid } = addressing(recorder, inputs);
  const program = kernel(recorder.gpu, divergence, {
    aliases: { teacher_type: scalarOf(teacher) },
    constants,
  });
  recorder.dispatch(
    program,
    { step, scaler, student, targets, per_token: perToken, teacher },
    { ...params, ...logitStrides('teacher', teacher, inputs), beta },
    grid,
    costOf(inputs, FLOPS.distil, teacher),
  );
}

export interface DistilTopKInputs extends LossInputs, Entries {
  /**
   * `entries` (B, T, words), or the rows of the chunk: k < V, the rest taken at the step's
   * temperature.
   */
  entries: Tensor;
  /**
   * perToken is (B·T, 4), as `compare` leaves it, but for the teacher's NLL, which an entry does
   * not tell and which is 0.
   */
  figures?: boolean;
}

/** alpha · T² · KL + (1 − alpha) · CE, the KL over the entry's k words and the rest as one more. */
export function distilTopK(recorder: Recorder, inputs: DistilTopKInputs): void {
  const { student, targets, perToken, step, scaler, entries, V, k, figures = false } = inputs;
  const { constants, params, grid } = addressing(recorder, inputs);
  if (k >= V)
    throw new Error(
      `distilTopK: the entries keep all of ${V} words. Expand them, and use the other losses.`,
    );
  const FIGURES = Number(figures);
  const program = kernel(recorder.gpu, 'distil_topk', {
    constants: { ...constants, FIGURES },
  });
  const { entry_v: _, ...found } = logitStrides('entry', entries, inputs);
  recorder.dispatch(
    program,
    { step, scaler, student, targets, per_token: perToken, entries },
    { ...params, ...found, k, narrow: Number(narrowIds({ V, k })) },
    grid,
    costOf(inputs, FLOPS.distilTopK, entries),
  );
}

/**
 * An evaluation's figures at temperature 1. student (B, T, V) f32, teacher (B, T, V), targets (B,
 * T), all through their layouts → perToken (B·T, 4) f32: student NLL, teacher NLL, KL(teacher ‖
 * student), agreement (0 or 1).
 */
export function compare(
  recorder: Recorder,
  inputs: {
    student: Tensor;
    teacher: Tensor;
    targets: Tensor;
    perToken: Tensor;
    ignoreIndex: number;
  },
): void {
  const { student, teacher, targets, perToken, ignoreIndex } = inputs;
  const [B, T, V] = student.layout.shape;
  const rows = B * T;
  const LANES = rowLanes(recorder.gpu);
  const program = kernel(recorder.gpu, 'compare', {
    aliases: { teacher_type: scalarOf(teacher) },
    constants: { LANES },
  });
  recorder.dispatch(
    program,
    { student, teacher, targets, per_token: perToken },
    {
      rows,
      T,
      V,
      ignore: ignoreIndex,
      ...strides('student', student),
      ...strides('target', targets),
      ...strides('teacher', teacher),
    },
    [Math.ceil((rows * LANES) / ROW_THREADS)],
    { flops: FLOPS.compare * student.layout.numel },
  );
}

/** A logit's, about: what the formulas ask for, not what a kernel computes again. */
const FLOPS = {
  ce: { value: 5, gradient: 5 },
  distil: { value: 19, gradient: 9 },
  distilTopK: { value: 9, gradient: 9 },
  compare: 14,
};

/**
 * Logits are read, and written where the gradient takes their place; of the rest, a target and two
 * figures a row.
 */
function costOf(
  { student, gradient }: LossInputs,
  flops: { value: number; gradient: number },
  ...teacher: Tensor[]
): DispatchCost {
  const { numel, shape } = student.layout;
  const rows = numel / (shape.at(-1) as number);
  return {
    flops: (flops.value + (gradient ? flops.gradient : 0)) * numel,
    bytes:
      bytesOf(student, ...(gradient ? [student] : []), ...teacher) +
      rows * (BYTES.i32 + 2 * BYTES.f32),
  };
}

function addressing(recorder: Recorder, inputs: LossInputs) {
  const { student, targets, ignoreIndex, labelSmoothing = 0, zLoss = 0, gradient, chunk } = inputs;
  const [B, T] = targets.layout.shape;
  const V = student.layout.shape.at(-1) as number;
  const { first, rows } = chunk ?? { first: 0, rows: B * T };
  const LANES = rowLanes(recorder.gpu);
  return {
    constants: { LANES, GRADIENT: Number(gradient) },
    params: {
      first,
      rows,
      T,
      V,
      ignore: ignoreIndex,
      label_smoothing: labelSmoothing,
      z_loss: zLoss,
      ...logitStrides('student', student, inputs),
      ...strides('target', targets),
    },
    grid: [Math.ceil((rows * LANES) / ROW_THREADS)] as [number],
  };
}

/**
 * How the rows of (B, T, V) logits are found, or those of a chunk, which begins at a row of its
 * own.
 */
function logitStrides(
  name: string,
  logits: Tensor,
  { targets, chunk }: LossInputs,
): Record<string, number> {
  if (!chunk) return { [`${name}_first`]: 0, ...strides(name, logits) };
  const [row, word] = logits.layout.strides; // (rows, V)
  const rows = {
    [`${name}_b`]: targets.layout.shape[1] * row,
    [`${name}_t`]: row,
    [`${name}_v`]: word,
  };
  return { [`${name}_first`]: chunk.first, [`${name}_offset`]: logits.layout.offset, ...rows };
}

function strides(name: string, { layout }: Tensor): Record<string, number> {
  const [b, t, v] = layout.strides;
  const vocabulary = layout.shape.length === 3 ? { [`${name}_v`]: v } : {};
  return { [`${name}_offset`]: layout.offset, [`${name}_b`]: b, [`${name}_t`]: t, ...vocabulary };
}
