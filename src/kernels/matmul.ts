// Matrix product with optional bias, addend, accumulation and GELU. The forward product and both
// products of its backward pass are this one operation.

import { bytesOf, type Recorder, type Tensor } from '../gpu/program';
import type { Layout } from '../tensor/layout';
import { bestVariant, type MatmulVariant, memoryOrder } from './matmul_variants';
import { kernel } from './sources';
import { scalarOf } from './tensors';

/** Rows that are sorted by expert: each expert's rows meet a matrix of its own. */
export interface ByExpert {
  /** (E + 1) u32: where each expert's rows begin, and where the last one's end. */
  starts: Tensor;
  /** Elements from an expert's matrix to the next one's. */
  stride: number;
  /**
   * The sorted rows are those of a and c, and b is the first expert's matrix; or they are what is
   * summed over, and c is the first expert's matrix, which is added to.
   */
  sorted: 'rows' | 'sums';
}

export interface MatmulOptions {
  /** The product is multiplied by it before anything is added; 1 by default. */
  scale?: number;
  /** (N), added to every row. */
  bias?: Tensor;
  /** (M, N) contiguous, added to the product: a residual. */
  addend?: Tensor;
  /** Add to what c holds. */
  accumulate?: boolean;
  /** (M, N) contiguous, of c's type: gelu(c) is written here. */
  geluOutput?: Tensor;
  /**
   * (M, N) contiguous: the input of the GELU that the product is the gradient of. The sum of all of
   * the above is multiplied by GELU's derivative there.
   */
  geluInput?: Tensor;
  experts?: ByExpert;
  /** The fastest by default. */
  variant?: MatmulVariant;
  label?: string;
}

/**
 * c (M, N) = a (M, K) · b (K, N), each through its own layout of rank 2: pass
 * `layout.transpose(0, 1)` for a transposed operand.
 *
 * The gradients are products too: for y = x·w + bias, dx = dy·wᵀ, dw += xᵀ·dy, dbias += column sums
 * of dy.
 * @throws if the sizes do not match, or the variant cannot load these layouts.
 */
export function matmul(
  recorder: Recorder,
  a: Tensor,
  b: Tensor,
  c: Tensor,
  options: MatmulOptions = {},
): void {
  const { scale, bias, addend, geluOutput, geluInput, experts } = options;
  const sums = experts?.sorted === 'sums';
  const { accumulate = sums } = options;
  const { label = 'matmul' } = options;
  const [M, K] = a.layout.shape;
  const [bRows, N] = b.layout.shape;
  if (
    [a, b, c].some((t) => t.layout.shape.length !== 2) ||
    bRows !== K ||
    c.layout.shape[0] !== M ||
    c.layout.shape[1] !== N
  ) {
    const shapes = `(${a.layout.shape}) · (${b.layout.shape}) → (${c.layout.shape})`;
    throw new Error(`matmul ${label}: ${shapes}; want (M, K) · (K, N) → (M, N).`);
  }
  const [a_type, b_type, c_type, scalar] = [a, b, c, bias ?? addend ?? geluInput ?? b].map(
    scalarOf,
  );
  const E = experts ? experts.starts.layout.numel - 1 : 1;
  // Each expert's rows begin a workgroup's, so that all but one of its rows may be nobody's.
  const rowGroups = (rows: number) =>
    Math.ceil((M + (experts && !sums ? Math.min(E, M) * (rows - 1) : 0)) / rows);
  const variant =
    options.variant ?? bestVariant(recorder.gpu, a.layout, b.layout, b_type, rowGroups);
  const { vec4Loads = false } = variant;
  const orders = [memoryOrder(a.layout, 1), memoryOrder(b.layout, 0)];
  if (vec4Loads && !orders.every((order) => order.vec4Loads)) {
    throw new Error(
      `matmul ${label}: (${a.layout}) · (${b.layout}) cannot be loaded in vec4s, ` +
        `as variant "${variant.name}" needs. Use another variant.`,
    );
  }
  const k = kernel(recorder.gpu, variant.file, {
    aliases: {
      a_type: vec4Loads ? `vec4<${a_type}>` : a_type,
      b_type: vec4Loads ? `vec4<${b_type}>` : b_type,
      c_type,
      scalar,
    },
    constants: {
      ...variant.constants,
      ...(variant.readsMemoryOrder && {
        A_ALONG_K: Number(orders[0].alongK),
        B_ALONG_K: Number(orders[1].alongK),
      }),
      SCALE: Number(scale !== undefined),
      BIAS: Number(!!bias),
      ADDEND: Number(!!addend),
      ACCUMULATE: Number(accumulate),
      GELU_BACKWARD: Number(!!geluInput),
      GELU: Number(!!geluOutput),
      VEC4_LOADS: Number(vec4Loads),
      BY_EXPERT: Number(!!experts),
      EXPERT_SUMS: Number(sums),
    },
  });
  const optional = { bias, addend, gelu_input: geluInput, gelu_output: geluOutput };
  const starts = experts && { starts: experts.starts };
  const present = Object.entries(optional).flatMap(([name, tensor]) =>
    tensor ? [[name, tensor] as const] : [],
  );
  recorder.dispatch(
    k,
    { a, b, c, ...Object.fromEntries(present), ...starts },
    {
      M,
      N,
      K,
      ...strides('a', a.layout),
      ...strides('b', b.layout),
      ...strides('c', c.layout),
      ...(scale !== undefined && { scale }),
      ...(experts && { experts: E, expert_stride: experts.stride }),
    },
    [Math.ceil(N / variant.columns), rowGroups(variant.rows), sums ? E : 1],
    {
      label,
      flops: 2 * M * N * K,
      bytes:
        bytesOf(a, b, c, ...(accumulate ? [c] : []), ...present.map(([, tensor]) => tensor)) +
        (E - 1) * bytesOf(...(sums ? [c, c] : [b])),
    },
  );
}

function strides(name: string, { strides: [row, column], offset }: Layout): Record<string, number> {
  return { [`${name}_offset`]: offset, [`${name}_row`]: row, [`${name}_col`]: column };
}
