// Matrix product with optional bias, addend and accumulation; forward and both backward products are this one kernel.

import { kernel } from '../gpu/kernel';
import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import wgsl from './matmul.wgsl?raw';

export interface MatmulOptions {
  /** (N), added to every row. */
  bias?: Tensor;
  /** (M, N) contiguous, added to the product: a residual. */
  addend?: Tensor;
  /** Add to what c holds. */
  accumulate?: boolean;
  label?: string;
}

const ROWS = 8;
const COLUMNS = 4;

/**
 * c (M, N) = a (M, K) · b (K, N), each through its own layout of rank 2: pass `layout.transpose(0, 1)` for a transposed operand.
 *
 * Its gradients are products too: for y = x·w + bias, dx = dy·wᵀ, dw += xᵀ·dy, dbias += column sums of dy.
 * @throws if the sizes do not match.
 */
export function matmul(recorder: Recorder, a: Tensor, b: Tensor, c: Tensor, options: MatmulOptions = {}): void {
  const { bias, addend, accumulate = false, label = 'matmul' } = options;
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
  // Narrow products would leave most of a wide workgroup idle.
  const LANES = N >= 256 ? 64 : 16;
  const scalar = (bias ?? addend)?.dtype === 'f16' ? 'f16' : 'f32';
  const program = kernel(recorder.gpu, 'matmul', wgsl, {
    aliases: { a_type: storage(a), b_type: storage(b), c_type: storage(c), scalar },
    constants: { LANES, BIAS: Number(!!bias), ADDEND: Number(!!addend), ACCUMULATE: Number(accumulate) },
  });
  recorder.dispatch(
    program,
    // A binding that the specialisation does not read still wants a buffer.
    { a, b, bias: bias ?? b, addend: addend ?? b, c },
    {
      ...{ M, N, K },
      ...{ a_offset: a.layout.offset, a_row: a.layout.strides[0], a_col: a.layout.strides[1] },
      ...{ b_offset: b.layout.offset, b_row: b.layout.strides[0], b_col: b.layout.strides[1] },
      ...{ c_offset: c.layout.offset, c_row: c.layout.strides[0], c_col: c.layout.strides[1] },
    },
    [Math.ceil(N / (LANES * COLUMNS)), Math.ceil(M / ROWS)],
    { label, flops: 2 * M * N * K, bytes: bytesOf(a, b, c, ...[bias, addend, accumulate && c].filter((t) => !!t)) },
  );
}

function storage({ dtype, place }: Tensor): 'f16' | 'f32' {
  if (dtype === 'f16' || dtype === 'f32') return dtype;
  throw new Error(`matmul: ${place.label} holds ${dtype}; want f16 or f32.`);
}
