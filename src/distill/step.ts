// The part of a step where the logits are: head, loss and the head's backward, in chunks of rows
// or, on a path that slices, all at once.

import { IGNORED_TARGET } from '../data/batches';
import type { Placement, Recorder, Tensor } from '../gpu/program';
import { columnSum } from '../kernels/column_sum';
import { matrix } from '../kernels/tensors';
import type { LanguageModel } from '../model/family';
import type { Arena } from '../model/parameters';
import { Layout } from '../tensor/layout';
import { chunksOf, rowsPerChunk, TILE_ROWS } from './chunks';
import {
  type LossPath,
  slicedCacheError,
  sliceLabels,
  sliceLogits,
  sliceLogitsBackward,
} from './loss-paths';
import { recordLoss } from './losses';
import type { TeacherSource } from './teacher/teacher';
import type { TrainerSettings } from './trainer';

interface Parts {
  settings: TrainerSettings;
  model: LanguageModel;
  gradients: Arena;
  /** Absent where the loss needs none. */
  teacher?: Pick<TeacherSource, 'logits'>;
  /** `sums`: 2 f32, the sums of CE and KD over tokens. `zero`: one f32 that is 0. */
  buffers: Record<'step' | 'scaler' | 'sums' | 'zero', GPUBuffer>;
}

interface Rows {
  hidden: Tensor; // (B·T, C)
  targets: Tensor; // (B, T), or labels where the path slices
  dhidden: Tensor; // (B·T, C)
}

/**
 * Records dhidden, the head's part of the gradients and the losses' sums. Returns the bytes that
 * the loss path copies.
 * @throws LayoutError on the path `view`, where PyTorch's view does
 */
export function recordHeadLoss(recorder: Recorder, parts: Parts, rows: Rows): number {
  const { lossPath = 'labels' } = parts.settings;
  if (lossPath !== 'labels') return recordSliced(recorder, lossPath, parts, rows);
  recordChunks(recorder, parts, rows);
  return 0;
}

function recordChunks(recorder: Recorder, parts: Parts, { hidden, targets, dhidden }: Rows): void {
  const { student, loss, chunkElements } = parts.settings;
  const { vocabularySize: V } = student;
  const [rows] = hidden.layout.shape;
  const perToken = recorder.tensor('per token', Layout.contiguous([rows, 2]), 'f32');
  const most = rowsPerChunk(recorder.gpu, V, chunkElements);
  const rowsOf = (tensor: Tensor, first: number, count: number): Tensor => ({
    ...tensor,
    layout: tensor.layout.narrow(0, first, count),
  });
  for (const { first, count } of chunksOf(rows, most, chunkElements ? 1 : TILE_ROWS)) {
    const logits = recorder.tensor('logits', Layout.contiguous([count, V]), 'f32', 'logits');
    const part = rowsOf(hidden, first, count);
    parts.model.head(recorder, part, logits);
    const inputs = {
      ...lossInputs(parts, targets, perToken),
      student: logits,
      chunk: { first, rows: count },
    };
    recordLoss(recorder, loss, inputs, parts.teacher?.logits(recorder, first, count));
    recordHeadBackward(recorder, parts, part, logits, rowsOf(dhidden, first, count));
  }
  columnSum(recorder, perToken, persistent(parts.buffers.sums, [2]), 'loss sums');
}

/** All logits at once, sliced to [:, :-1] as scripts do. */
function recordSliced(
  recorder: Recorder,
  path: LossPath,
  parts: Parts,
  { hidden, targets, dhidden }: Rows,
): number {
  const { student, batchSize: B, contextLength: T, loss } = parts.settings;
  const { vocabularySize: V } = student;
  const logits = recorder.tensor('logits', Layout.contiguous([B, T, V]), 'f32', 'logits');
  const perToken = recorder.tensor('per token', Layout.contiguous([B * (T - 1), 2]), 'f32');
  parts.model.head(recorder, hidden, matrix(logits, B * T, V));
  const slice = sliceLogits(recorder, logits, path);
  const theirs = parts.teacher?.logits(recorder, 0, B * T);
  if (theirs && 'entries' in theirs) throw slicedCacheError(path, theirs);
  const taught =
    theirs && sliceLogits(recorder, { ...theirs, layout: theirs.layout.view([B, T, V]) }, path);
  const inputs = { ...lossInputs(parts, sliceLabels(targets), perToken), student: slice.tensor };
  recordLoss(recorder, loss, inputs, taught?.tensor);
  columnSum(recorder, perToken, persistent(parts.buffers.sums, [2]), 'loss sums');
  const there = slice.bytesCopied + (taught?.bytesCopied ?? 0);
  if (parts.settings.faults?.detached) return there;
  const back = sliceLogitsBackward(recorder, slice, logits, persistent(parts.buffers.zero, [1]));
  recordHeadBackward(recorder, parts, hidden, matrix(logits, B * T, V), dhidden);
  return there + back;
}

function lossInputs({ buffers: { step, scaler } }: Parts, targets: Tensor, perToken: Tensor) {
  return { targets, ignoreIndex: IGNORED_TARGET, perToken, step, scaler, gradient: true };
}

function recordHeadBackward(
  recorder: Recorder,
  parts: Parts,
  hidden: Tensor,
  dlogits: Tensor,
  dhidden: Tensor,
): void {
  if (parts.settings.faults?.detached) return;
  parts.model.headBackward(recorder, parts.gradients, { hidden, dlogits, dhidden });
}

function persistent(buffer: GPUBuffer, shape: number[]): Tensor {
  const place: Placement = {
    label: buffer.label,
    bytes: buffer.size,
    buffer,
    offset: 0,
    purpose: 'metrics',
  };
  return { layout: Layout.contiguous(shape), dtype: 'f32', place };
}
