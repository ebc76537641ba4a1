// Token and position embeddings, forward and backward.

import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import { BYTES } from '../tensor/dtype';
import { columnSum } from './column_sum';
import { kernel } from './sources';
import { matrix, rowRuns, scalarOf } from './tensors';

/** x (B·T, C) = wte[tokens] + wpe[position]. tokens (B, T) u32. */
export function embedding(
  recorder: Recorder,
  tokens: Tensor,
  wte: Tensor,
  wpe: Tensor,
  x: Tensor,
): void {
  const [, T] = tokens.layout.shape;
  const [rows, C] = x.layout.shape;
  const program = kernel(recorder.gpu, 'embedding', { aliases: { scalar: scalarOf(wte) } });
  const V = wte.layout.shape[0];
  for (const { first, rows: run } of rowRuns(recorder.gpu, wte)) {
    const count = run.layout.shape[0];
    const params = { rows, T, C, V, first, count };
    const flops = rows * C;
    // Of the tables, the rows that are named.
    const bytes = bytesOf(tokens, x) + BYTES[wte.dtype] * C * (Math.min(rows, count) + T);
    recorder.dispatch(program, { tokens, wte: run, wpe, x }, params, [Math.ceil(C / 64), rows], {
      flops,
      bytes,
    });
  }
}

/**
 * dwte (V, C) += dx summed by token; dwpe's first T rows += dx summed over the batch.
 * `order` (B·T) u32 holds the rows sorted by token.
 */
export function embeddingBackward(
  recorder: Recorder,
  {
    tokens,
    order,
    dx,
    dwte,
    dwpe,
  }: { tokens: Tensor; order: Tensor; dx: Tensor; dwte: Tensor; dwpe: Tensor },
): void {
  const [B, T] = tokens.layout.shape;
  const [rows, C] = dx.layout.shape;
  const program = kernel(recorder.gpu, 'embedding_backward', {
    aliases: { scalar: scalarOf(dx) },
  });
  for (const { first, rows: run } of rowRuns(recorder.gpu, dwte)) {
    const count = run.layout.shape[0];
    const params = { rows, C, first, count };
    const cost = {
      flops: rows * C,
      bytes: bytesOf(tokens, order, dx) + 2 * BYTES.f32 * C * Math.min(rows, count),
    };
    recorder.dispatch(
      program,
      { tokens, order, dx, dwte: run },
      params,
      [Math.ceil(C / 64), rows],
      cost,
    );
  }
  // x = … + wpe[t]: every sequence adds to the same T rows.
  columnSum(recorder, matrix(dx, B, T * C), dwpe, 'wpe gradient');
}
