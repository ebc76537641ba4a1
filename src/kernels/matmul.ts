// Matrix product with optional bias, addend and accumulation; forward and both backward products are this one operation.

import { kernel } from '../gpu/kernel';
import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import storeWgsl from './matmul_store.wgsl?raw';
import { bestWay, type Way } from './matmul-ways';
import { scalarOf } from './tensors';

export interface MatmulOptions {
  /** (N), added to every row. */
  bias?: Tensor;
  /** (M, N) contiguous, added to the product: a residual. */
  addend?: Tensor;
  /** Add to what c holds. */
  accumulate?: boolean;
  /** How to multiply; what is fastest by default. */
  way?: Way;
  label?: string;
}

/**
 * c (M, N) = a (M, K) · b (K, N), each through its own layout of rank 2: pass `layout.transpose(0, 1)` for a transposed operand.
 *
 * Its gradients are products too: for y = x·w + bias, dx = dy·wᵀ, dw += xᵀ·dy, dbias += column sums of dy.
 * @throws if the sizes do not match.
 */
export function matmul(recorder: Recorder, a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions = {}): void {
  const { bias, addend, accumulate = false, way, label = 'matmul' } = options;
  const [M, K] = a.layout.shape;
  const [k, N] = b.layout.shape;
  if (
    [a, b, c].some((t) => t.layout.shape.length !== 2) ||
    k !== K ||
    c.layout.shape[0] !== M ||
    c.layout.shape[1] !== N
  ) {
    throw new Error(
      `matmul ${label}: (${a.layout.shape}) · (${b.layout.shape}) → (${c.layout.shape}); want (M, K) · (K, N) → (M, N).`,
    );
  }
  const [a_type, b_type, c_type, scalar] = [a, b, c, bias ?? addend ?? b].map(scalarOf);
  const { file, wgsl, constants, rows, columns, orders } = way ?? bestWay(recorder.gpu, M, N, b_type);
  const [[a_row, a_col], [b_row, b_col], [c_row, c_col]] = [a, b, c].map(({ layout }) => layout.strides);
  const program = kernel(recorder.gpu, file, `${wgsl}\n${storeWgsl}`, {
    aliases: { a_type, b_type, c_type, scalar },
    constants: orders ? { ...constants, A_DEEP: Number(a_col === 1), B_DEEP: Number(b_row === 1) } : constants,
  });
  recorder.dispatch(
    program,
    // What is not added still wants a buffer.
    { a, b, bias: bias ?? b, addend: addend ?? b, c },
    {
      ...{ M, N, K },
      ...{ a_offset: a.layout.offset, a_row, a_col },
      ...{ b_offset: b.layout.offset, b_row, b_col },
      ...{ c_offset: c.layout.offset, c_row, c_col },
      adds: (bias ? 1 : 0) + (addend ? 2 : 0) + (accumulate ? 4 : 0),
    },
    [Math.ceil(N / columns), Math.ceil(M / rows)],
    { label, flops: 2 * M * N * K, bytes: bytesOf(a, b, c, ...[bias, addend, accumulate && c].filter((t) => !!t)) },
  );
}
