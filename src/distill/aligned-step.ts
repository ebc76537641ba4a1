// The part of a training step that compares groups of tokens, for losses that need no common
// vocabulary.

import { NO_GROUP } from '../data/aligned';
import { IGNORED_TARGET } from '../data/targets';
import type { Recorder, Tensor } from '../gpu/program';
import { alignedLoss, logLikelihood, type MatchedTokens } from '../kernels/aligned';
import { columnSum } from '../kernels/column_sum';
import { Layout } from '../tensor/layout';
import type { AlignmentBuffer } from './alignment-buffer';
import { chunksOf, rowsPerChunk, TILE_ROWS } from './chunks';
import type { TeacherSource } from './teacher/teacher';
import type { TrainingState } from './training-state';

/** The pairs of `matches`, on the GPU, in both directions. */
function matchedTokens(recorder: Recorder, matches: Int32Array, V: number): MatchedTokens {
  const student = new Uint32Array(V).fill(NO_GROUP);
  const teacher = new Uint32Array(matches);
  let count = 0;
  for (const [w, v] of matches.entries()) {
    if (v < 0) continue;
    student[v] = w;
    count++;
  }
  const constant = (label: string, ids: Uint32Array<ArrayBuffer>): Tensor => ({
    ...recorder.constant(label, Layout.contiguous([ids.length]), new Float32Array(ids.buffer)),
    dtype: 'u32',
  });
  return {
    student: constant('matched tokens', student),
    teacher: constant('matched teacher tokens', teacher),
    count,
  };
}

type State = Pick<
  TrainingState,
  'settings' | 'model' | 'gradients' | 'step' | 'scaler' | 'sums' | 'batch'
>;

/**
 * Records head, loss and the head's backward. The head runs twice: a group's loss needs the
 * probabilities of all its tokens, and their gradients need the loss, so that likelihoods of all
 * rows come first, and then the chunks from the last to the first.
 * @throws if the teacher is a cache
 */
export function recordAlignedChunks(
  recorder: Recorder,
  state: State,
  alignment: AlignmentBuffer,
  teacher: Pick<TeacherSource, 'logits' | 'aligned'> | undefined,
  hidden: Tensor,
  dhidden: Tensor,
): void {
  const { model, gradients, settings, batch, step, scaler } = state;
  const { label_smoothing: labelSmoothing, z_loss: zLoss, kd_beta: beta } = settings.loss;
  if (!teacher?.aligned)
    throw new Error('The loss needs a teacher that is not cached. Use teacher_cache=off.');
  const { vocabularySize: V } = model.architecture;
  const [rows] = hidden.layout.shape;
  const ignoreIndex = IGNORED_TARGET;
  const perRow = (label: string, columns: number) =>
    recorder.tensor(label, Layout.contiguous([rows, columns]), 'f32');
  const [likelihood, teacherLikelihood] = [perRow('likelihood', 1), perRow('its teacher’s', 1)];
  const [measured, perToken] = [perRow('per group', 2), perRow('per token', 2)];
  const { chunkElements } = settings;
  const narrow = (x: Tensor, { first, count }: { first: number; count: number }): Tensor => ({
    ...x,
    layout: x.layout.narrow(0, first, count),
  });
  const headOf = (chunk: { first: number; count: number }): Tensor => {
    const logits = recorder.tensor('logits', Layout.contiguous([chunk.count, V]), 'f32', 'logits');
    model.head(recorder, narrow(hidden, chunk), logits);
    return logits;
  };

  const { vocabularySize: W } = teacher.aligned;
  const chunks = chunksOf(
    rows,
    rowsPerChunk(recorder.gpu, Math.max(V, W), chunkElements),
    chunkElements ? 1 : TILE_ROWS,
  );
  for (const { first, count } of chunks) {
    const logits = teacher.logits(recorder, first, count) as Tensor;
    const { targets } = alignment;
    logLikelihood(recorder, {
      logits,
      targets,
      result: teacherLikelihood,
      step,
      first,
      ignoreIndex,
    });
  }
  let logits: Tensor | undefined;
  for (const chunk of chunks) {
    const { first } = chunk;
    logits = headOf(chunk);
    const { targets } = batch;
    logLikelihood(recorder, { logits, targets, result: likelihood, step, first, ignoreIndex });
  }
  const matched = settings.matches && matchedTokens(recorder, settings.matches(W), V);
  for (const chunk of chunks.toReversed()) {
    // The last chunk's are still there.
    logits ??= headOf(chunk);
    const { first, count } = chunk;
    alignedLoss(recorder, {
      student: logits,
      teacher: teacher.aligned.logits(recorder, alignment.spans, first, count),
      targets: batch.targets,
      ignoreIndex,
      spans: alignment.spans,
      likelihood,
      teacherLikelihood,
      measured,
      perToken,
      step,
      scaler,
      inverseGroups: alignment.inverseGroups,
      chunk: { first, rows: count },
      labelSmoothing,
      zLoss,
      matched,
      beta,
    });
    model.headBackward(recorder, gradients, {
      hidden: narrow(hidden, chunk),
      dlogits: logits,
      dhidden: narrow(dhidden, chunk),
    });
    logits = undefined;
  }
  columnSum(recorder, perToken, state.sums, 'loss sums');
}
