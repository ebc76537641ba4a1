// The losses. Each reads student logits, teacher logits and targets through their layouts, so that
// a sliced, transposed or padded tensor needs no copy, and writes the gradient in place of the
// student's logits.

import type { Divergence } from '../divergences';
import {
  bytesOf,
  type DispatchCost,
  type Grid,
  type Placement,
  type Recorder,
  type Tensor,
} from '../gpu/program';
import { BYTES } from '../tensor/dtype';
import { kernel } from './sources';
import { ROW_THREADS, rowLanes, scalarOf } from './tensors';
import { type Entries, hasU16Ids } from './topk';

export interface LossInputs {
  /** (B, T, V) f32, or the rows of one chunk. With `gradient`, becomes the gradient. */
  student: Tensor;
  targets: Tensor; // (B, T) i32
  /** Rows with this target have no loss and no gradient. */
  ignoreIndex: number;
  /** (B·T, 2) f32: each token's CE, and its divergence without T²; 0 if its target is ignored. */
  perToken: Tensor;
  /** Holds a Step; see sources.ts. */
  step: Placement | GPUBuffer;
  /** Holds a Scaler; see sources.ts. */
  scaler: Placement | GPUBuffer;
  /** e of the cross-entropy, the share of the target spread over the vocabulary; 0 by default. */
  labelSmoothing?: number;
  /** l of the cross-entropy, the weight of lse²; 0 by default. */
  zLoss?: number;
  /** Whether to write the gradient; if not, the logits stay. */
  gradient: boolean;
  /**
   * The rows of the B·T that `student` and the teacher hold; all of them by default. The logits of
   * a chunk are (rows, V).
   */
  chunk?: { first: number; rows: number };
}

/** Cross-entropy with the targets. */
export function ce(recorder: Recorder, inputs: LossInputs): void {
  const { constants, params, grid } = lossDispatch(recorder, inputs);
  recorder.dispatch(
    kernel(recorder.gpu, 'ce', { constants }),
    lossBindings(inputs),
    params,
    grid,
    costOf(inputs, FLOPS.ce),
  );
}

export interface DistilInputs extends LossInputs {
  teacher: Tensor; // (B, T, V) f16 or f32, or the rows of the chunk
  divergence: Divergence;
  /** β, between 0 and 1, of the divergences that take it. */
  beta: number;
}

/** alpha · T² · D(teacher, student) + (1 − alpha) · CE, with a divergence D. */
export function distil(recorder: Recorder, inputs: DistilInputs): void {
  const { teacher, divergence, beta } = inputs;
  const { constants, params, grid } = lossDispatch(recorder, inputs);
  recorder.dispatch(
    kernel(recorder.gpu, divergence, {
      aliases: { teacher_type: scalarOf(teacher) },
      constants,
    }),
    { ...lossBindings(inputs), teacher },
    { ...params, ...rowParams('teacher', teacher, inputs), beta },
    grid,
    costOf(inputs, FLOPS.distil, teacher),
  );
}

export interface DistilTopKInputs extends LossInputs, Entries {
  /**
   * (B, T, entry size) u32, or the rows of the chunk, with k < V and the tail at the step's
   * temperature.
   */
  entries: Tensor;
  /**
   * Measure as `compare` does: perToken is then (B·T, 6). The teacher's NLL is 0, since an entry
   * does not contain it.
   */
  evaluation?: boolean;
}

/**
 * alpha · T² · KL + (1 − alpha) · CE, the KL over the k tokens of an entry and the tail.
 * @throws if k = V
 */
export function distilTopK(recorder: Recorder, inputs: DistilTopKInputs): void {
  const { entries, V, k, evaluation = false } = inputs;
  if (k >= V) {
    throw new Error(
      `distilTopK: the entries have all ${V} tokens. Expand them, and use the other losses.`,
    );
  }
  const { constants, params, grid } = lossDispatch(recorder, inputs);
  const { entry_v: _, ...entryParams } = rowParams('entry', entries, inputs);
  recorder.dispatch(
    kernel(recorder.gpu, 'distil_topk', {
      constants: { ...constants, EVALUATION: Number(evaluation) },
    }),
    { ...lossBindings(inputs), entries },
    { ...params, ...entryParams, k, u16_ids: Number(hasU16Ids({ V, k })) },
    grid,
    costOf(inputs, FLOPS.distilTopK, entries),
  );
}

/**
 * What an evaluation measures, at temperature 1. student (B, T, V) f32, teacher (B, T, V), targets
 * (B, T), all in any layout → perToken (B·T, 6) f32: student's NLL, teacher's NLL,
 * KL(teacher ‖ student); 0 or 1: agreement, student right, teacher right.
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
  const { student, teacher, targets, perToken } = inputs;
  const { aliases, constants, params, grid } = comparison(recorder, inputs);
  recorder.dispatch(
    kernel(recorder.gpu, 'compare', { aliases, constants }),
    { student, teacher, targets, per_token: perToken },
    params,
    grid,
    { flops: FLOPS.compare * student.layout.numel },
  );
}

function comparison(
  { gpu }: Recorder,
  { student, teacher, targets, ignoreIndex }: Parameters<typeof compare>[1],
) {
  const [B, T, V] = student.layout.shape;
  const rows = B * T;
  const LANES = rowLanes(gpu);
  const grid: Grid = [Math.ceil((rows * LANES) / ROW_THREADS)];
  return {
    aliases: { teacher_type: scalarOf(teacher) },
    constants: { LANES },
    params: {
      rows,
      T,
      V,
      ignore: ignoreIndex,
      ...strides('student', student),
      ...strides('target', targets),
      ...strides('teacher', teacher),
    },
    grid,
  };
}

/** What `diagnose` gives for each token, in its order. */
export const DIAGNOSES = [
  'teacherEntropy',
  'studentEntropy',
  'softEntropy',
  'overlap',
  'overlapMass',
  'confidence',
] as const;

/**
 * How the models' predictions differ. Shapes as for `compare` → perToken (B·T, DIAGNOSES.length)
 * f32. `step` holds a Step, whose temperature softens the teacher's third entropy.
 */
export function diagnose(
  recorder: Recorder,
  inputs: Parameters<typeof compare>[1] & Pick<LossInputs, 'step'>,
): void {
  const { student, teacher, targets, perToken, step } = inputs;
  const { aliases, constants, params, grid } = comparison(recorder, inputs);
  recorder.dispatch(
    kernel(recorder.gpu, 'diagnose', { aliases, constants }),
    { step, student, teacher, targets, per_token: perToken },
    params,
    grid,
    { flops: FLOPS.diagnose * student.layout.numel },
  );
}

/** Per logit, roughly: what the formulas need, not what a kernel computes twice. */
const FLOPS = {
  ce: { loss: 5, gradient: 5 },
  distil: { loss: 19, gradient: 9 },
  distilTopK: { loss: 9, gradient: 9 },
  compare: 14,
  diagnose: 16,
};

/**
 * Student logits are read, and written if there is a gradient; the teacher is read; beside them a
 * row has a target and two results.
 */
function costOf(
  { student, gradient }: LossInputs,
  flops: { loss: number; gradient: number },
  ...teacher: Tensor[]
): DispatchCost {
  const { numel, shape } = student.layout;
  const rows = numel / (shape.at(-1) as number);
  return {
    flops: (flops.loss + (gradient ? flops.gradient : 0)) * numel,
    bytes:
      bytesOf(student, ...(gradient ? [student] : []), ...teacher) +
      rows * (BYTES.i32 + 2 * BYTES.f32),
  };
}

const lossBindings = ({ step, scaler, student, targets, perToken }: LossInputs) => ({
  step,
  scaler,
  student,
  targets,
  per_token: perToken,
});

function lossDispatch(recorder: Recorder, inputs: LossInputs) {
  const { student, targets, ignoreIndex, labelSmoothing = 0, zLoss = 0, gradient, chunk } = inputs;
  const [B, T] = targets.layout.shape;
  const V = student.layout.shape.at(-1) as number;
  const { first, rows } = chunk ?? { first: 0, rows: B * T };
  const LANES = rowLanes(recorder.gpu);
  const grid: Grid = [Math.ceil((rows * LANES) / ROW_THREADS)];
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
      ...rowParams('student', student, inputs),
      ...strides('target', targets),
    },
    grid,
  };
}

/** Where a kernel finds the rows of a (B, T, …) tensor, or the rows of a chunk. */
function rowParams(
  name: string,
  tensor: Tensor,
  { targets, chunk }: LossInputs,
): Record<string, number> {
  if (!chunk) return { [`${name}_first`]: 0, ...strides(name, tensor) };
  const [row, column] = tensor.layout.strides; // (rows, V), or (rows, entry size)
  return {
    [`${name}_first`]: chunk.first,
    [`${name}_offset`]: tensor.layout.offset,
    [`${name}_b`]: targets.layout.shape[1] * row,
    [`${name}_t`]: row,
    [`${name}_v`]: column,
  };
}

function strides(name: string, { layout }: Tensor): Record<string, number> {
  const [b, t, v] = layout.strides;
  const last = layout.shape.length === 3 ? { [`${name}_v`]: v } : {};
  return { [`${name}_offset`]: layout.offset, [`${name}_b`]: b, [`${name}_t`]: t, ...last };
}
