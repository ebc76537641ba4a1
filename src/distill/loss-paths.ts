// How logits of (B, T) tokens come to face the labels that follow them, as scripts do it: logits[:,
// :-1] against labels[:, 1:]. `strided` reads the slice where it lies; `reshape` copies it first;
// `view` throws exactly where PyTorch would. The fourth way, labels shifted when the batch is made,
// slices nothing and so is not here.

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
  /** Bytes that were copied to make it. */
  bytesCopied: number;
}

/**
 * Records what stands between logits (B, T, V) and the loss on `path`. @throws LayoutError where
 * PyTorch's view does.
 */
export function sliceLogits(recorder: Recorder, logits: Tensor, path: LossPath): Slice {
  const sliced = logits.layout.slice(1, 0, -1);
  const rows = [-1, sliced.shape[2]];
  const inPlace = (layout: Layout) => ({ tensor: { ...logits, layout }, bytesCopied: 0 });
  if (path === 'strided') return inPlace(sliced);
  // Where view exists, splitting its rows again gives the same addresses; where it does not, this
  // is the story's exception.
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
 * Differentiates `sliceLogits`: afterwards `logits` (B, T, V) holds the gradient, which the loss
 * left in the slice's place, and 0 at the last position, which no loss saw. `zero` is one f32 that
 * is 0. Returns the bytes copied.
 */
export function sliceLogitsBackward(
  recorder: Recorder,
  { tensor }: Slice,
  logits: Tensor,
  zero: Tensor,
): number {
  const unseen = logits.layout.slice(1, -1);
  copy(
    recorder,
    { ...zero, layout: zero.layout.view([1, 1, 1]).expand(unseen.shape) },
    { ...logits, layout: unseen },
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
 * Labels (B, T) as scripts have them: each token its own, to be shifted. The first of a sequence
 * follows none and is ignored.
 */
export function tokenLabels({ inputs, targets }: Batch, T: number): Int32Array<ArrayBuffer> {
  // A row that is not there is ignored, and so is its token.
  return Int32Array.from(inputs, (_, i) => (i % T === 0 ? IGNORED_TARGET : targets[i - 1]));
}

/** Labels or targets that count. */
export function validTargets(targets: Int32Array): number {
  let valid = 0;
  for (const target of targets) if (target !== IGNORED_TARGET) valid++;
  return valid;
}
