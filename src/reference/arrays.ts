// Flat arrays as tensors and matrices: layouts, strided copies, products and sums.

/** Any flat array of numbers: typed or plain. */
export type Numbers = ArrayLike<number>;

/** How a tensor lies in its storage; strides and offset count elements. */
export interface LayoutLike {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

/** A tensor: a storage, and the layout through which it is read. */
export interface Strided {
  data: Numbers;
  layout: LayoutLike;
}

/** The layout of a row-major tensor that starts at element 0. */
export function rowMajor(shape: readonly number[]): LayoutLike {
  const strides = shape.map((_, i) =>
    shape.slice(i + 1).reduce((product, size) => product * size, 1),
  );
  return { shape, strides, offset: 0 };
}

/** A contiguous tensor: `data` holds exactly the elements of `shape`. */
export function contiguous(data: Numbers, shape: readonly number[]): Strided {
  expectLength(
    'contiguous',
    'data',
    data,
    shape.reduce((product, size) => product * size, 1),
  );
  return { data, layout: rowMajor(shape) };
}

/**
 * @throws unless `data` has `length` elements. Reading past the end gives `undefined`, which would
 * become a NaN far from its cause.
 */
export function expectLength(operation: string, name: string, data: Numbers, length: number): void {
  if (data.length !== length) {
    throw new Error(
      `${operation}: ${name} has ${data.length} elements, not ${length}. ` +
        'Check the sizes passed with it.',
    );
  }
}

/**
 * The storage of `target` after source → target, element by element, each through its own layout.
 * Both have the same shape. What the target's layout does not reach keeps its value.
 */
export function copy(source: Strided, target: Strided): Float64Array {
  const { shape } = source.layout;
  if (target.layout.shape.join() !== shape.join()) {
    throw new Error(
      `copy: (${shape}) into (${target.layout.shape}). Give the target the source's shape.`,
    );
  }
  const result = Float64Array.from(target.data);
  const visit = (d: number, from: number, to: number) => {
    if (d === shape.length) {
      result[to] = source.data[from];
      return;
    }
    for (let i = 0; i < shape[d]; i++) {
      visit(d + 1, from + i * source.layout.strides[d], to + i * target.layout.strides[d]);
    }
  };
  visit(0, source.layout.offset, target.layout.offset);
  return result;
}

export interface MatmulOptions {
  /** A is stored (K, M). */
  transposeA?: boolean;
  /** B is stored (N, K). */
  transposeB?: boolean;
  /** (N), added to every row. */
  bias?: Numbers;
}

/** Y (M, N) = A (M, K) · B (K, N) + bias (N). */
export function matmul(
  a: Numbers,
  b: Numbers,
  M: number,
  K: number,
  N: number,
  options: MatmulOptions = {},
): Float64Array {
  expectLength('matmul', 'A', a, M * K);
  expectLength('matmul', 'B', b, K * N);
  if (options.bias) expectLength('matmul', 'bias', options.bias, N);
  const [aRow, aColumn] = options.transposeA ? [1, M] : [K, 1];
  const [bRow, bColumn] = options.transposeB ? [1, K] : [N, 1];
  const y = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = options.bias ? options.bias[n] : 0;
      for (let k = 0; k < K; k++) sum += a[m * aRow + k * aColumn] * b[k * bRow + n * bColumn];
      y[m * N + n] = sum;
    }
  }
  return y;
}

/** (M, N) → (N): the sum over rows. It is the gradient of a bias. */
export function columnSum(x: Numbers, M: number, N: number): Float64Array {
  expectLength('columnSum', 'x', x, M * N);
  const sums = new Float64Array(N);
  for (let i = 0; i < M * N; i++) sums[i % N] += x[i];
  return sums;
}

/** (M, N) → (N, M). */
export function transpose(x: Numbers, M: number, N: number): Float64Array {
  expectLength('transpose', 'x', x, M * N);
  return Float64Array.from({ length: M * N }, (_, i) => x[(i % M) * N + Math.floor(i / M)]);
}

/** a + b, element by element: the residual connection. Both get the same gradient. */
export function add(a: Numbers, b: Numbers): Float64Array {
  expectLength('add', 'b', b, a.length);
  return Float64Array.from(a, (value, i) => value + b[i]);
}

/** √(Σ x²) over the elements of all arrays. */
export function norm(...arrays: Numbers[]): number {
  let squares = 0;
  for (const x of arrays) for (let i = 0; i < x.length; i++) squares += x[i] * x[i];
  return Math.sqrt(squares);
}
