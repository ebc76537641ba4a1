// One training step, recorded once and replayed by the trainer. It runs in this order:
//
//   clear gradients and sums                            Trainer.step
//   for each batch of the step:
//     teacher's forward                                 TeacherSource.enqueue
//     student's forward                                 recordGradients
//     for each chunk of rows: head, loss, head backward
//     backward
//   gradient norm, loss scale, clipping and AdamW,      recordOptimiser
//   the biases of routers that these balance
//
// B sequences of T tokens, V tokens of vocabulary, C width.

import { IGNORED_TARGET } from '../data/batches';
import type { Recorder, Tensor } from '../gpu/program';
import { columnSum } from '../kernels/column_sum';
import { optimiserStep } from '../kernels/optimiser';
import { matrix } from '../kernels/tensors';
import { Layout } from '../tensor/layout';
import { recordAlignedChunks } from './aligned-step';
import type { BatchBuffer } from './batch-buffer';
import { chunksOf, rowsPerChunk, TILE_ROWS } from './chunks';
import * as paths from './loss-paths';
import { recordLoss } from './losses';
import { recordRouterLosses } from './router-losses';
import { lossScalingOf } from './settings';
import type { TeacherSource } from './teacher/teacher';
import type { TrainingState } from './training-state';

type Teacher = Pick<TeacherSource, 'logits' | 'aligned' | 'routers'> | undefined;

/** What the losses of a step read and write. */
type LossState = Pick<
  TrainingState,
  'settings' | 'model' | 'gradients' | 'step' | 'scaler' | 'sums' | 'zero'
> & { batch: Pick<BatchBuffer, 'targets'> };

/**
 * Records one batch's forward and backward pass, which adds to the gradients and to the losses'
 * sums. Returns the bytes that the loss path copies.
 * @throws LayoutError on the path `view`, where PyTorch's view does
 */
export function recordGradients(
  recorder: Recorder,
  state: TrainingState,
  teacher: Teacher,
): number {
  const { model, gradients, settings, batch } = state;
  const { lossPath = 'labels', recompute } = settings;
  const { tokens, documents, order } = batch;
  const activations = model.forward(recorder, tokens, { recompute, documents });
  const { hidden } = activations; // (B·T, C)
  const dhidden = recorder.tensor('d hidden', hidden.layout, hidden.dtype);
  const routerGradient = recordRouterLosses(recorder, state, activations.routed, teacher?.routers);
  state.routerBias?.count(recorder, activations.routed);
  let bytesCopied = 0;
  if (state.alignment)
    recordAlignedChunks(recorder, state, state.alignment, teacher, hidden, dhidden);
  else if (lossPath === 'labels') recordChunks(recorder, state, teacher, hidden, dhidden);
  else bytesCopied = recordSliced(recorder, lossPath, state, teacher, hidden, dhidden);
  model.backward(recorder, gradients, activations, dhidden, order, routerGradient);
  return bytesCopied;
}

/** Head, loss and the head's backward, a chunk of rows at a time. */
export function recordChunks(
  recorder: Recorder,
  state: LossState,
  teacher: Teacher,
  hidden: Tensor,
  dhidden: Tensor,
): void {
  const { model, gradients, settings, batch } = state;
  const { loss, chunkElements } = settings;
  const { vocabularySize: V } = model.architecture;
  const [rows] = hidden.layout.shape;
  const perToken = recorder.tensor('per token', Layout.contiguous([rows, 2]), 'f32');
  const most = rowsPerChunk(recorder.gpu, V, chunkElements);
  for (const { first, count } of chunksOf(rows, most, chunkElements ? 1 : TILE_ROWS)) {
    const narrow = (x: Tensor): Tensor => ({ ...x, layout: x.layout.narrow(0, first, count) });
    const logits = recorder.tensor('logits', Layout.contiguous([count, V]), 'f32', 'logits');
    model.head(recorder, narrow(hidden), logits);
    const inputs = lossInputs(state, logits, batch.targets, perToken);
    const teacherLogits = teacher?.logits(recorder, first, count);
    recordLoss(recorder, loss, { ...inputs, chunk: { first, rows: count } }, teacherLogits);
    // The loss left its gradient in the logits' place.
    const dlogits = logits;
    model.headBackward(recorder, gradients, {
      hidden: narrow(hidden),
      dlogits,
      dhidden: narrow(dhidden),
    });
  }
  columnSum(recorder, perToken, state.sums, 'loss sums');
}

/** The same for all logits at once, sliced to [:, :-1] as training scripts do. */
function recordSliced(
  recorder: Recorder,
  path: paths.LossPath,
  state: LossState,
  teacher: Teacher,
  hidden: Tensor,
  dhidden: Tensor,
): number {
  const { model, gradients, settings, batch } = state;
  const { batchSize: B, contextLength: T, loss } = settings;
  const { vocabularySize: V } = model.architecture;
  const logits = recorder.tensor('logits', Layout.contiguous([B, T, V]), 'f32', 'logits');
  const perToken = recorder.tensor('per token', Layout.contiguous([B * (T - 1), 2]), 'f32');
  model.head(recorder, hidden, matrix(logits, B * T, V));
  const slice = paths.sliceLogits(recorder, logits, path);
  const all = teacher?.logits(recorder, 0, B * T);
  if (all && 'entries' in all) throw paths.slicedCacheError(path, all);
  const teacherSlice =
    all && paths.sliceLogits(recorder, { ...all, layout: all.layout.view([B, T, V]) }, path);
  const inputs = lossInputs(state, slice.tensor, paths.sliceLabels(batch.targets), perToken);
  recordLoss(recorder, loss, inputs, teacherSlice?.tensor);
  columnSum(recorder, perToken, state.sums, 'loss sums');
  const copiedBack = paths.sliceLogitsBackward(recorder, slice, logits, state.zero);
  const dlogits = matrix(logits, B * T, V);
  model.headBackward(recorder, gradients, { hidden, dlogits, dhidden });
  return slice.bytesCopied + (teacherSlice?.bytesCopied ?? 0) + copiedBack;
}

function lossInputs(
  { step, scaler }: LossState,
  student: Tensor,
  targets: Tensor,
  perToken: Tensor,
) {
  const ignoreIndex = IGNORED_TARGET;
  return { student, targets, ignoreIndex, perToken, step, scaler, gradient: true };
}

/** Records the update: gradient norm, loss scaler's decision, clipping, AdamW, routers' biases. */
export function recordOptimiser(recorder: Recorder, state: TrainingState): void {
  const { master, weights, gradients, mean, square, settings } = state;
  const arenas = {
    gradients: gradients.places,
    master: master.places,
    mean: mean.places,
    square: square.places,
    halves: weights === master ? undefined : weights.places,
  };
  const dynamicScale = lossScalingOf(settings) === 'dynamic';
  optimiserStep(recorder, arenas, state, gradients.plan, { ...settings.adam, dynamicScale });
  state.routerBias?.move(recorder, state.scaler, master, weights === master ? undefined : weights);
}
