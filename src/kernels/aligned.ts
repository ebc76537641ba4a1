// The losses between models whose vocabularies differ, in the order in which a step records them:
// the likelihood of each row's token, for the groups of several; then, a chunk of rows at a time,
// the teacher's rows that belong to the student's, both ranked, compared, and the gradient.

import type { Grid, Placement, Recorder, Tensor } from '../gpu/program';
import { Layout } from '../tensor/layout';
import { kernel } from './sources';
import { elementGrid, ROW_THREADS, rowLanes, scalarOf } from './tensors';

/** Rows of the B·T. */
interface Chunk {
  first: number;
  rows: number;
}

type Bound = Placement | GPUBuffer;

const gridOf = ({ gpu }: Recorder, rows: number): Grid => [
  Math.ceil((rows * rowLanes(gpu)) / ROW_THREADS),
];

/** A matrix of which each row is contiguous. @throws otherwise */
function rowStride({ layout, place }: Tensor): { offset: number; row_stride: number } {
  const [row, column] = layout.strides;
  if (column !== 1) throw new Error(`${place.label}: columns ${column} apart; want 1.`);
  return { offset: layout.offset, row_stride: row };
}

/**
 * Logits (rows, V), f16 or f32 → result (B·T) f32: ln softmax(z / T) of each row's target, from row
 * `first` on; 0 where it is ignored. `step` holds a Step with the temperature.
 */
export function logLikelihood(
  recorder: Recorder,
  {
    logits,
    targets,
    result,
    step,
    first,
    ignoreIndex,
  }: {
    logits: Tensor;
    targets: Tensor;
    result: Tensor;
    step: Bound;
    first: number;
    ignoreIndex: number;
  },
): void {
  const [rows, V] = logits.layout.shape;
  recorder.dispatch(
    kernel(recorder.gpu, 'log_likelihood', {
      aliases: { logits_type: scalarOf(logits) },
      constants: { LANES: rowLanes(recorder.gpu) },
    }),
    { step, logits, targets, result },
    { first, rows, V, ignore: ignoreIndex, ...rowStride(logits) },
    gridOf(recorder, rows),
    { flops: 4 * rows * V },
  );
}

/**
 * source (all, N) → rows (count, N): the last row of the teacher's group to which each of the
 * student's rows belongs, from row `first` on. Rows without a group hold whatever row 0 does.
 * @param spans (B·T, 4) u32, as data/aligned.ts makes them
 */
export function gatherRows(
  recorder: Recorder,
  { source, spans, rows, first }: { source: Tensor; spans: Tensor; rows: Tensor; first: number },
): void {
  const count = rows.layout.numel;
  const [, N] = rows.layout.shape;
  recorder.dispatch(
    kernel(recorder.gpu, 'gather_rows', {
      aliases: { source_type: scalarOf(source), row_type: scalarOf(rows) },
      constants: { CHANCES: 0 },
    }),
    { source, spans, rows },
    { first, count, N, ...rowStride(source) },
    elementGrid(recorder.gpu, count),
    { bytes: 2 * rows.place.bytes },
  );
}

/** A row's probabilities in descending order, as `rank` leaves them. */
interface Ranked {
  /** (2, rows, V) u32: the first half holds the keys of probability_key.wgsl. */
  keys: Tensor;
  /** (2, rows, V) u32: their tokens. */
  ids?: Tensor;
}

/** Of each 5 bits: counting, and moving a key, and a token. */
const OPERATIONS_PER_KEY = 6 * 3;

/**
 * Ranks softmax(z / T) of logits (rows, V) f32, contiguous.
 * @param tokens whether to keep the tokens beside them
 * @param matched (V) u32: of another model's vocabulary; what is matched counts as 0
 */
function rank(recorder: Recorder, { logits, step, matched, tokens }: RankInputs): Ranked {
  const [rows, V] = logits.layout.shape;
  const make = (label: string) =>
    recorder.tensor(label, Layout.contiguous([2, rows, V]), 'u32', 'logits');
  const keys = make('ranked probabilities');
  const ids = tokens ? make('ranked tokens') : undefined;
  recorder.dispatch(
    kernel(recorder.gpu, 'rank', {
      constants: {
        LANES: rowLanes(recorder.gpu),
        IDS: Number(ids !== undefined),
        MATCHED: Number(matched !== undefined),
      },
    }),
    { step, logits, keys, ...(ids && { ids }), ...(matched && { matched }) },
    { rows, V },
    gridOf(recorder, rows),
    { flops: OPERATIONS_PER_KEY * rows * V },
  );
  return { keys, ids };
}

interface RankInputs {
  logits: Tensor;
  step: Bound;
  matched?: Tensor;
  tokens: boolean;
}

/** Tokens of the same text in two vocabularies. */
export interface MatchedTokens {
  /** (V) u32: the teacher's token, or 2^32 − 1. */
  student: Tensor;
  /** (W) u32: the student's token, or 2^32 − 1. */
  teacher: Tensor;
  count: number;
}

export interface AlignedInputs {
  /** (rows, V) f32, contiguous. Becomes the gradient. */
  student: Tensor;
  /** (rows, W) f32, contiguous: gathered rows. */
  teacher: Tensor;
  /** (B·T) i32. */
  targets: Tensor;
  ignoreIndex: number;
  /** (B·T, 4) u32. */
  spans: Tensor;
  /** (B·T) f32, of all rows: see `logLikelihood`. */
  likelihood: Tensor;
  teacherLikelihood: Tensor;
  /** (B·T, 2) f32: a group's loss and S, in its last row. Later chunks come first. */
  measured: Tensor;
  /** (B·T, 2) f32: each token's CE, and in a group's last row the group's loss without T². */
  perToken: Tensor;
  /** Holds a Step; see sources.ts. */
  step: Bound;
  /** Holds a Scaler. */
  scaler: Bound;
  /** A uniform: 1 / groups of the whole step, f32. */
  inverseGroups: Bound;
  chunk: Chunk;
  labelSmoothing?: number;
  zLoss?: number;
  /** Compares these with each other, and only the others by rank. */
  matched?: MatchedTokens;
  /** β of the divergence between matched tokens. */
  beta: number;
}

/**
 * alpha · T² · D + (1 − alpha) · CE, with D the mean over groups of the loss of
 * reference/aligned.ts. A group that reaches into an earlier chunk has its gradient there, so
 * chunks are recorded from the last to the first.
 */
export function alignedLoss(recorder: Recorder, inputs: AlignedInputs): void {
  const { student, teacher, targets, spans, likelihood, teacherLikelihood, measured } = inputs;
  const { perToken, step, scaler, inverseGroups, chunk, matched, beta } = inputs;
  const { first, rows } = chunk;
  const [[, V], [, W]] = [student.layout.shape, teacher.layout.shape];
  const LANES = rowLanes(recorder.gpu);
  const grid = gridOf(recorder, rows);
  const mine = rank(recorder, { logits: student, step, matched: matched?.student, tokens: true });
  const theirs = rank(recorder, {
    logits: teacher,
    step,
    matched: matched?.teacher,
    tokens: false,
  });
  const da = recorder.tensor('d probabilities', Layout.contiguous([rows, V]), 'f32', 'logits');
  const share = (matched?.count ?? 0) / W;
  const allMatched = matched?.count === Math.min(V, W);
  const likelihoods = { likelihood, teacher_likelihood: teacherLikelihood };
  recorder.dispatch(
    kernel(recorder.gpu, 'compare_ranks', { constants: { LANES, CHANCES: 1 } }),
    {
      spans,
      ...likelihoods,
      keys: mine.keys,
      ids: mine.ids as Tensor,
      teacher_keys: theirs.keys,
      da,
      measured,
    },
    { first, rows, V, W, weight: allMatched ? 0 : 1 - share },
    grid,
    { flops: 5 * rows * Math.max(V, W) },
  );
  if (matched) {
    recorder.dispatch(
      kernel(recorder.gpu, 'compare_matched', { constants: { LANES, CHANCES: 1 } }),
      { step, spans, ...likelihoods, student, teacher, matched: matched.student, da, measured },
      { first, rows, V, W, beta, weight: share },
      grid,
      { flops: rows * (6 * V + 4 * W + 20 * matched.count) },
    );
  }
  recorder.dispatch(
    kernel(recorder.gpu, 'aligned_gradient', { constants: { LANES, CHANCES: 0 } }),
    {
      step,
      inverse_groups: inverseGroups,
      scaler,
      targets,
      spans,
      likelihood,
      measured,
      da,
      student,
      per_token: perToken,
    },
    {
      first,
      rows,
      V,
      ignore: inputs.ignoreIndex,
      label_smoothing: inputs.labelSmoothing ?? 0,
      z_loss: inputs.zLoss ?? 0,
    },
    grid,
    { flops: 15 * rows * V },
  );
}
