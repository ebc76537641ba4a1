// Sums over rows: gradients of biases and of positions, and the totals of per-token losses.

import type { Gpu } from '../gpu/device';
import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import { kernel } from './sources';
import { scalarOf } from './tensors';

/** Threads that share a column; one on a software adapter, as for rows. */
export const columnLanes = (gpu: Gpu): number => (gpu.adapter.software ? 1 : 16);

/**
 * sums (at least N, f32) += column sums of x (rows, N), contiguous. For y = … + bias: dbias +=
 * columnSum(dy).
 */
export function columnSum(recorder: Recorder, x: Tensor, sums: Tensor, label = 'columnSum'): void {
  const [rows, N] = x.layout.shape;
  const constants = { LANES: columnLanes(recorder.gpu) };
  const program = kernel(recorder.gpu, 'column_sum', {
    aliases: { scalar: scalarOf(x) },
    constants,
  });
  // Sums may be longer than N; they are read and written.
  const cost = { label, flops: rows * N, bytes: bytesOf(x) + 2 * 4 * N };
  recorder.dispatch(program, { x, sums }, { rows, N }, [Math.ceil(N / 16)], cost);
}
