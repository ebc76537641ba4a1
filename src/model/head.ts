// The language-model head: hidden states times a matrix (V, C), which may exceed what one binding
// can show and is then taken in runs of rows. V vocabulary, C width.

import type { Recorder, Tensor } from '../gpu/program';
import { matmul } from '../kernels/matmul';
import { rowRuns, transposed } from '../kernels/tensors';

/** logits (rows, V) f32 = hidden (rows, C) · wᵀ. f32, because the losses' gradients need it. */
export function head(
  recorder: Recorder,
  w: Tensor,
  hidden: Tensor,
  logits: Tensor,
  label = 'head',
): void {
  for (const { first, rows: run } of rowRuns(recorder.gpu, w)) {
    matmul(recorder, hidden, transposed(run), columnsOf(logits, first, run), { label });
  }
}

/** Differentiates `head`: dhidden (rows, C) = dlogits · w, dw (V, C) f32 += dlogitsᵀ · hidden. */
export function headBackward(
  recorder: Recorder,
  w: Tensor,
  dw: Tensor,
  { hidden, dlogits, dhidden }: { hidden: Tensor; dlogits: Tensor; dhidden: Tensor },
): void {
  for (const { first, rows: run } of rowRuns(recorder.gpu, w)) {
    const options = { accumulate: first > 0, label: 'head dx' };
    matmul(recorder, columnsOf(dlogits, first, run), run, dhidden, options);
  }
  for (const { first, rows: run } of rowRuns(recorder.gpu, dw)) {
    const dlogitsT = transposed(columnsOf(dlogits, first, run));
    matmul(recorder, dlogitsT, hidden, run, { accumulate: true, label: 'head dw' });
  }
}

/** The columns of logits that belong to a run of the matrix's rows. */
const columnsOf = (logits: Tensor, first: number, { layout: { shape } }: Tensor): Tensor => ({
  ...logits,
  layout: logits.layout.narrow(1, first, shape[0]),
});
