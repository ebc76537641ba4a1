// Sums over rows: gradients of biases and of position embeddings, and totals of per-token losses.

import type { Gpu } from '../gpu/device';
import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import { kernel } from './sources';
import { scalarOf } from './tensors';

/** Threads that share a column; one on a software adapter, as for rows (see rowLanes). */
export const columnLanes = (gpu: Gpu): number => (gpu.adapter.software ? 1 : 16);

/**
 * sums (at least N, f32) += Σ x (rows, N) over rows; x is contiguous. For y = … + bias:
 * dbias += columnSum(dy).
 */
export function columnSum(recorder: Recorder, x: Tensor, sums: Tensor, label?: string): void {
  const [rows, N] = x.layout.shape;
  const k = kernel(recorder.gpu, 'column_sum', {
    aliases: { scalar: scalarOf(x) },
    constants: { LANES: columnLanes(recorder.gpu) },
  });
  // `sums` may be longer than N. Its N elements are read and written.
  const cost = { flops: rows * N, bytes: bytesOf(x) + 2 * 4 * N };
  recorder.dispatch(k, { x, sums }, { rows, N }, [Math.ceil(N / 16)], { label, ...cost });
}
