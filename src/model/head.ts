// The language-model head: hidden states times a matrix (V, C), which may exceed what one binding
// can show and is then taken in runs of rows. The matrix may have more rows than there are logits:
// padding, which is neither read nor given a gradient. V vocabulary, C width.

import type { Recorder, Tensor } from '../gpu/program';
import { matmul } from '../kernels/matmul';
import { firstRows, rowRuns, transposed } from '../kernels/tensors';

/** logits (rows, V) f32 = hidden (rows, C) · wᵀ. f32, because the losses' gradients need it. */
export function head(
  recorder: Recorder,
  w: Tensor,
  hidden: Tensor,
  logits: Tensor,
  label = 'head',
): void {
  const used = firstRows(w, logits.layout.shape[1]);
  for (const { first, rows: run } of rowRuns(recorder.gpu, used)) {
    matmul(recorder, hidden, transposed(run), columnsOf(logits, first, run), { label });
  }
}

/**
 * Differentiates `head`: dhidden (rows, C) = dlogits · w, dw (V, C) f32 += dlogitsᵀ · hidden. A
 * frozen matrix has no dw.
 */
export function headBackward(
  recorder: Recorder,
  w: Tensor,
  dw: Tensor | undefined,
  { hidden, dlogits, dhidden }: { hidden: Tensor; dlogits: Tensor; dhidden: Tensor },
): void {
  const V = dlogits.layout.shape[1];
  for (const { first, rows: run } of rowRuns(recorder.gpu, firstRows(w, V))) {
    const options = { accumulate: first > 0, label: 'head dx' };
    matmul(recorder, columnsOf(dlogits, first, run), run, dhidden, options);
  }
  if (!dw) return;
  for (const { first, rows: run } of rowRuns(recorder.gpu, firstRows(dw, V))) {
    const dlogitsT = transposed(columnsOf(dlogits, first, run));
    matmul(recorder, dlogitsT, hidden, run, { accumulate: true, label: 'head dw' });
  }
}

/** The columns of logits that belong to a run of the matrix's rows. */
const columnsOf = (logits: Tensor, first: number, { layout: { shape } }: Tensor): Tensor => ({
  ...logits,
  layout: logits.layout.narrow(1, first, shape[0]),
});
