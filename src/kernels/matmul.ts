// Matrix product with optional bias, addend and accumulation; forward and both backward products
// are this one operation.

import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import type { Layout } from '../tensor/layout';
import { bestWay, lie, type Way } from './matmul_variants';
import { kernel } from './sources';
import { scalarOf } from './tensors';

export interface MatmulOptions {
  /** (N), added to every row. */
  bias?: Tensor;
  /** (M, N) contiguous, added to the product: a residual. */
  addend?: Tensor;
  /** Add to what c holds. */
  accumulate?: boolean;
  /** (M, N) contiguous, of c's type: gets gelu(c). */
  gelu?: Tensor;
  /**
   * (M, N) contiguous: what a GELU was given. All of the above is multiplied by its slope there:
   * its backward pass.
   */
  geluOf?: Tensor;
  /** How to multiply; what is fastest by default. */
  way?: Way;
  label?: string;
}

/**
 * c (M, N) = a (M, K) · b (K, N), each through its own layout of rank 2: pass `layout.transpose(0,
 * 1)` for a transposed operand.
 *
 * Its gradients are products too: for y = x·w + bias, dx = dy·wᵀ, dw += xᵀ·dy, dbias += column sums
 * of dy.
 * @throws if the sizes do not match.
 */
export function matmul(
  recorder: Recorder,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  options: MatmulOptions = {},
): void {
  const { bias, addend, accumulate = false, gelu, geluOf, way, label = 'matmul' } = options;
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
  const [a_type, b_type, c_type, scalar] = [a, b, c, bias ?? addend ?? geluOf ?? b].map(scalarOf);
  const { file, constants, rows, columns, orders, fours } =
    way ?? bestWay(recorder.gpu, a.layout, b.layout, b_type);
  if (fours && !(lie(a.layout, 1).fours && lie(b.layout, 0).fours))
    throw new Error(
      `matmul ${label}: (${a.layout}) · (${b.layout}) do not lie in fours, which this way of it loads.`,
    );
  const [[a_row, a_col], [b_row, b_col], [c_row, c_col]] = [a, b, c].map(
    ({ layout }) => layout.strides,
  );
  const program = kernel(recorder.gpu, file, {
    aliases: {
      a_type: fours ? `vec4<${a_type}>` : a_type,
      b_type: fours ? `vec4<${b_type}>` : b_type,
      c_type,
      scalar,
    },
    constants: {
      ...constants,
      ...(orders && ordersOf(a.layout, b.layout)),
      BIAS: Number(!!bias),
      ADDEND: Number(!!addend),
      ACCUMULATE: Number(accumulate),
      SLOPE: Number(!!geluOf),
      GELU: Number(!!gelu),
      ALIKE: Number(!!fours),
      UNLIKE: Number(!fours),
    },
  });
  const more = { bias, addend, before: geluOf, activated: gelu };
  const given = Object.entries(more).flatMap(([name, tensor]) =>
    tensor ? [[name, tensor] as const] : [],
  );
  recorder.dispatch(
    program,
    { a, b, c, ...Object.fromEntries(given) },
    {
      M,
      N,
      K,
      a_offset: a.layout.offset,
      a_row,
      a_col,
      b_offset: b.layout.offset,
      b_row,
      b_col,
      c_offset: c.layout.offset,
      c_row,
      c_col,
    },
    [Math.ceil(N / columns), Math.ceil(M / rows)],
    {
      label,
      flops: 2 * M * N * K,
      bytes: bytesOf(a, b, c, ...(accumulate ? [c] : []), ...given.map(([, tensor]) => tensor)),
    },
  );
}

/** Constants that say which way the operands' neighbours in memory lie. */
function ordersOf(a: Layout, b: Layout): Record<string, number> {
  const [deepA, deepB] = [Number(lie(a, 1).deep), Number(lie(b, 0).deep)];
  return { A_DEEP: deepA, A_ACROSS: 1 - deepA, B_DEEP: deepB, B_ACROSS: 1 - deepB };
}
