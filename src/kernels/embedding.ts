// Token and position embeddings, forward and backward.

import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import { BYTES } from '../tensor/dtype';
import { columnSum } from './column_sum';
import { kernel } from './sources';
import { matrix, rowRuns, scalarOf } from './tensors';

/** x (B·T, C) = wte[token] [+ wpe[position]]. tokens (B, T) u32, wte (V, C), wpe (≥ T, C). */
export function embedding(
  recorder: Recorder,
  tokens: Tensor,
  wte: Tensor,
  wpe: Tensor | undefined,
  x: Tensor,
): void {
  const [, T] = tokens.layout.shape;
  const [rows, C] = x.layout.shape;
  const V = wte.layout.shape[0];
  const k = kernel(recorder.gpu, 'embedding', {
    aliases: { scalar: scalarOf(wte) },
    constants: { POSITIONS: Number(!!wpe) },
  });
  for (const { first, rows: run } of rowRuns(recorder.gpu, wte)) {
    const count = run.layout.shape[0];
    const cost = {
      flops: wpe ? rows * C : 0,
      // Of the tables, only the rows that are looked up.
      bytes: bytesOf(tokens, x) + BYTES[wte.dtype] * C * (Math.min(rows, count) + (wpe ? T : 0)),
    };
    recorder.dispatch(
      k,
      { tokens, wte: run, ...(wpe && { wpe }), x },
      { rows, T, C, V, first, count },
      [Math.ceil(C / 64), rows],
      cost,
    );
  }
}

/**
 * dwte (V, C) += dx (B·T, C) summed by token; the first T rows of dwpe, if there is one, += dx
 * summed over the batch. `order` (B·T) u32 holds the rows sorted by token.
 */
export function embeddingBackward(
  recorder: Recorder,
  {
    tokens,
    order,
    dx,
    dwte,
    dwpe,
  }: { tokens: Tensor; order: Tensor; dx: Tensor; dwte: Tensor; dwpe?: Tensor },
): void {
  const [B, T] = tokens.layout.shape;
  const [rows, C] = dx.layout.shape;
  const k = kernel(recorder.gpu, 'embedding_backward', { aliases: { scalar: scalarOf(dx) } });
  for (const { first, rows: run } of rowRuns(recorder.gpu, dwte)) {
    const count = run.layout.shape[0];
    recorder.dispatch(
      k,
      { tokens, order, dx, dwte: run },
      { rows, C, first, count },
      [Math.ceil(C / 64), rows],
      {
        flops: rows * C,
        bytes: bytesOf(tokens, order, dx) + 2 * BYTES.f32 * C * Math.min(rows, count),
      },
    );
  }
  // x = … + wpe[t]: every sequence adds to the same T rows.
  if (dwpe) columnSum(recorder, matrix(dx, B, T * C), dwpe, 'wpe gradient');
}
