// Pairs the logits of (B, T) tokens with the labels that follow them, as training scripts do:
// logits[:, :-1] against labels[:, 1:]. `strided` reads the slice in place; `reshape` copies it
// first; `view` throws where PyTorch would. The fourth way, shifting the labels when the batch is
// made, slices nothing and so is not here.

import { type Batch, IGNORED_TARGET } from '../data/batches';
import type { Recorder, Tensor } from '../gpu/program';
import { copy } from '../kernels/copy';
import type { TopK } from '../kernels/topk';
import { BYTES } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import { CacheError } from './teacher/cache-file';

/** Three ways for the logits' slice to meet the loss. */
export type LossPath = 'strided' | 'reshape' | 'view';

export interface Slice {
  /** (B, T−1, V): what the loss reads. */
  tensor: Tensor;
  /** Bytes copied to make it. */
  bytesCopied: number;
}

/**
 * Records what `path` does to logits (B, T, V) ahead of the loss.
 * @throws LayoutError on `view`, where PyTorch's view does
 */
export function sliceLogits(recorder: Recorder, logits: Tensor, path: LossPath): Slice {
  const sliced = logits.layout.slice(1, 0, -1);
  const rows = [-1, sliced.shape[2]];
  const inPlace = (layout: Layout) => ({ tensor: { ...logits, layout }, bytesCopied: 0 });
  if (path === 'strided') return inPlace(sliced);
  // If the view exists, splitting its rows again gives the same addresses. If not, this throws the
  // exception that the Bug Lab shows.
  if (path === 'view') return inPlace(sliced.view(rows).view(sliced.shape));
  const { layout, copied } = sliced.reshape(rows);
  if (!copied) return inPlace(layout.view(sliced.shape));
  const tensor = recorder.tensor(
    `${logits.place.label} copy`,
    Layout.contiguous(sliced.shape),
    logits.dtype,
    'logits',
  );
  copy(recorder, { ...logits, layout: sliced }, tensor);
  return { tensor, bytesCopied: sliced.numel * BYTES[logits.dtype] };
}

/**
 * Differentiates `sliceLogits`: afterwards `logits` (B, T, V) holds dlogits, which the loss left in
 * the slice, and 0 at the last position, which the loss did not read. Returns the bytes copied.
 * @param zero one f32 that is 0
 */
export function sliceLogitsBackward(
  recorder: Recorder,
  { tensor }: Slice,
  logits: Tensor,
  zero: Tensor,
): number {
  const last = logits.layout.slice(1, -1);
  copy(
    recorder,
    { ...zero, layout: zero.layout.view([1, 1, 1]).expand(last.shape) },
    { ...logits, layout: last },
  );
  if (tensor.place === logits.place) return 0;
  copy(recorder, tensor, { ...logits, layout: logits.layout.slice(1, 0, -1) });
  return tensor.layout.numel * BYTES[tensor.dtype];
}

/** The error for a sliced loss path with a top-k cache, which holds no full logits. */
export const slicedCacheError = (path: LossPath, { V, k }: TopK): CacheError =>
  new CacheError(
    'refused',
    `train_loss_path=${path} needs all of the teacher’s logits; the cache holds ${k} of ${V} per ` +
      'position. Use train_loss_path=labels, or cache_top_k=0.',
  );

/** labels[:, 1:] as a view of labels (B, T). */
export const sliceLabels = (labels: Tensor): Tensor => ({
  ...labels,
  layout: labels.layout.slice(1, 1),
});

/**
 * Labels (B, T) before the shift, as scripts have them: each token is its own label. The first of a
 * sequence follows no token and is ignored.
 */
export function tokenLabels({ inputs, targets }: Batch, T: number): Int32Array<ArrayBuffer> {
  // An ignored target makes its token's label ignored, too: a missing row stays missing.
  return Int32Array.from(inputs, (_, i) => (i % T === 0 ? IGNORED_TARGET : targets[i - 1]));
}

/** A label that counts: its place in (B, T − 1) figures, and the tokens before it in its window. */
export interface Label {
  row: number;
  position: number;
  token: number;
}

/** The labels [:, 1:] of a batch that count, in the order of an evaluation's figures. */
export function* labelsOf({ targets }: Batch, T: number): Generator<Label> {
  for (const [i, token] of targets.entries()) {
    const [sequence, t] = [Math.floor(i / T), i % T];
    if (t === T - 1 || token === IGNORED_TARGET) continue;
    yield { row: sequence * (T - 1) + t, position: t + 1, token };
  }
}

/** Number of labels or targets that count. */
export function validTargets(targets: Int32Array): number {
  let valid = 0;
  for (const target of targets) if (target !== IGNORED_TARGET) valid++;
  return valid;
}
