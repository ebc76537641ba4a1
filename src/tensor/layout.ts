// Layout: how a tensor's elements lie in their storage. Its methods give PyTorch's results, and
// PyTorch's errors where an operation is impossible. It holds no data and copies none; it only says
// when a copy is needed.

import type { Fail, Sizes } from './strides';
import {
  contiguousStrides,
  expandGeometry,
  inferShape,
  list,
  product,
  stridesAreContiguous,
  viewStrides,
  wrapDimension,
} from './strides';

/** The result of an operation that may need a copy. */
export interface Relayout {
  layout: Layout;
  /** Whether the elements must be copied, in row-major order, to a new storage at offset 0. */
  copied: boolean;
}

/**
 * An operation that the layout does not allow. The message's first line is PyTorch's text. The
 * second has the operation, sizes and strides, which PyTorch leaves out.
 */
export class LayoutError extends Error {
  override name = 'LayoutError';
  constructor(
    /** PyTorch's text alone. */
    readonly reason: string,
    /** The call, e.g. `view([-1, 512])`. */
    readonly operation: string,
    /** The layout it was called on. */
    readonly layout: Layout,
  ) {
    super(`${reason}\n${operation} on ${layout}`);
  }
}

const without = (values: Sizes, at: number) => values.filter((_, d) => d !== at);
const withValue = (values: Sizes, at: number, value: number) =>
  values.map((v, d) => (d === at ? value : v));

export class Layout {
  /** Sizes, outermost dimension first. */
  readonly shape: Sizes;
  /** Elements from one index to the next, for each dimension; 0 for an expanded dimension. */
  readonly strides: Sizes;
  /** The address of the first element, in elements from the start of the storage. */
  readonly offset: number;
  /** Number of elements. */
  readonly numel: number;

  /**
   * Any layout, e.g. rows padded to `pitch`: `new Layout([B, T, V], [T * pitch, pitch, 1])`.
   * @throws RangeError unless all are integers ≥ 0
   */
  constructor(shape: Sizes, strides: Sizes, offset = 0) {
    const valid = [...shape, ...strides, offset, product(shape)].every(
      (n) => Number.isSafeInteger(n) && n >= 0,
    );
    if (!valid || shape.length !== strides.length) {
      throw new RangeError(
        `Layout: sizes ${list(shape)}, strides ${list(strides)}, offset ${offset} ` +
          'do not describe a tensor. Give as many strides as sizes, and whole numbers that are ' +
          'not negative.',
      );
    }
    this.shape = Object.freeze([...shape]);
    this.strides = Object.freeze([...strides]);
    this.offset = offset;
    this.numel = product(shape);
  }

  /** Row-major, from the start of the storage. */
  static contiguous(shape: Sizes): Layout {
    return new Layout(shape, contiguousStrides(shape));
  }

  get rank(): number {
    return this.shape.length;
  }

  get isContiguous(): boolean {
    return stridesAreContiguous(this.shape, this.strides);
  }

  /** Elements that the storage must have at least: the last address + 1, or 0 without elements. */
  get extent(): number {
    return this.numel === 0
      ? 0
      : this.shape.reduce((sum, size, d) => sum + (size - 1) * this.strides[d], this.offset + 1);
  }

  toString(): string {
    return `sizes ${list(this.shape)}, strides ${list(this.strides)}, offset ${this.offset}`;
  }

  /**
   * The address of one element, in elements from the start of the storage. Takes one index per
   * dimension; negative ones count from the end.
   */
  at(...index: number[]): number {
    const fail: Fail = this.failing(`at(${index.join(', ')})`);
    if (index.length > this.rank) fail(`too many indices for tensor of dimension ${this.rank}`);
    if (index.length < this.rank)
      fail(`an element's address takes ${this.rank} indices, not ${index.length}`);
    return index.reduce((address, i, d) => {
      const size = this.shape[d];
      if (!Number.isInteger(i) || i < -size || i >= size) {
        fail(`index ${i} is out of bounds for dimension ${d} with size ${size}`);
      }
      return address + (i < 0 ? i + size : i) * this.strides[d];
    }, this.offset);
  }

  /** The addresses of all elements in row-major order, as a copy reads them. */
  *addresses(): Generator<number> {
    const index = this.shape.map(() => 0);
    let address = this.offset;
    for (let n = 0; n < this.numel; n++) {
      yield address;
      for (let d = index.length - 1; d >= 0; d--) {
        address += this.strides[d];
        if (++index[d] < this.shape[d]) break;
        address -= this.shape[d] * this.strides[d];
        index[d] = 0;
      }
    }
  }

  /**
   * The same elements in another shape, without a copy; one size may be −1.
   * @throws LayoutError if no strides give that shape
   */
  view(shape: Sizes): Layout {
    const fail: Fail = this.failing(`view(${list(shape)})`);
    const sizes = inferShape(shape, this.numel, fail);
    const strides = viewStrides(this.shape, this.strides, sizes);
    if (strides) return new Layout(sizes, strides, this.offset);
    return fail(
      "view size is not compatible with input tensor's size and stride (at least one dimension " +
        'spans across two contiguous subspaces). Use .reshape(...) instead.',
    );
  }

  /** A view if there is one, else a copy. */
  reshape(shape: Sizes): Relayout {
    return this.relayout(inferShape(shape, this.numel, this.failing(`reshape(${list(shape)})`)));
  }

  contiguous(): Relayout {
    return this.isContiguous
      ? { layout: this, copied: false }
      : { layout: Layout.contiguous(this.shape), copied: true };
  }

  /**
   * Merges dimensions `start` to `end`, inclusive, into one; a scalar gets one dimension. Copies if
   * reshape does.
   */
  flatten(start = 0, end = -1): Relayout {
    const fail: Fail = this.failing(`flatten(${start}, ${end})`);
    const first = wrapDimension(start, this.rank, fail);
    const last = wrapDimension(end, this.rank, fail);
    if (first > last) fail('flatten() has invalid args: start_dim cannot come after end_dim');
    if (this.rank === 0) return this.relayout([1]);
    if (first === last) return { layout: this, copied: false };
    const merged = product(this.shape.slice(first, last + 1));
    return this.relayout([...this.shape.slice(0, first), merged, ...this.shape.slice(last + 1)]);
  }

  /** A view with one dimension split into `sizes`. */
  unflatten(dim: number, sizes: Sizes): Layout {
    const fail: Fail = this.failing(`unflatten(${dim}, ${list(sizes)})`);
    const d = wrapDimension(dim, this.rank, fail);
    if (sizes.length === 0) fail('unflatten: sizes must be non-empty');
    return this.view([...this.shape.slice(0, d), ...sizes, ...this.shape.slice(d + 1)]);
  }

  /**
   * Python's `[start:stop:step]` on one dimension: null is an open end, negative indices count from
   * the end, and indices past the ends are clamped.
   */
  slice(dim: number, start: number | null = null, stop: number | null = null, step = 1): Layout {
    const fail: Fail = this.failing(`slice(${dim}, ${start}, ${stop}, ${step})`);
    if (this.rank === 0) fail('slice() cannot be applied to a 0-dim tensor.');
    const d = wrapDimension(dim, this.rank, fail);
    const size = this.shape[d];
    if (![start ?? 0, stop ?? 0, step].every(Number.isSafeInteger)) {
      fail('slice indices must be integers or None or have an __index__ method');
    }
    if (step === 0) fail('slice step cannot be zero');
    if (step < 0) fail('step must be greater than zero');
    const bound = (i: number) => Math.min(Math.max(i < 0 ? i + size : i, 0), size);
    const first = bound(start ?? 0);
    const length = Math.ceil(Math.max(bound(stop ?? size) - first, 0) / step);
    return new Layout(
      withValue(this.shape, d, length),
      withValue(this.strides, d, this.strides[d] * step),
      this.offset + first * this.strides[d],
    );
  }

  /** `length` indices of one dimension, from `start`. Errors are PyTorch 2's; older ones differ. */
  narrow(dim: number, start: number, length: number): Layout {
    const fail: Fail = this.failing(`narrow(${dim}, ${start}, ${length})`);
    if (this.rank === 0) fail('narrow() cannot be applied to a 0-dim tensor.');
    const d = wrapDimension(dim, this.rank, fail);
    const size = this.shape[d];
    if (length < 0) fail('narrow(): length must be non-negative.');
    if (start < -size || start > size) {
      fail(`start out of range (expected to be in range of [${-size}, ${size}], but got ${start})`);
    }
    const first = start < 0 ? start + size : start;
    if (first + length > size) {
      fail(`start (${first}) + length (${length}) exceeds dimension size (${size}).`);
    }
    return this.slice(d, first, first + length);
  }

  /** One index of one dimension, which is removed. */
  select(dim: number, index: number): Layout {
    const fail: Fail = this.failing(`select(${dim}, ${index})`);
    if (this.rank === 0) fail('select() cannot be applied to a 0-dim tensor.');
    const d = wrapDimension(dim, this.rank, fail);
    const size = this.shape[d];
    if (!Number.isInteger(index) || index < -size || index >= size) {
      fail(
        `select(): index ${index} out of range for tensor of size ${list(this.shape)} ` +
          `at dimension ${d}`,
      );
    }
    const address = this.offset + (index < 0 ? index + size : index) * this.strides[d];
    return new Layout(without(this.shape, d), without(this.strides, d), address);
  }

  /** Swaps two dimensions. */
  transpose(dim0: number, dim1: number): Layout {
    const fail: Fail = this.failing(`transpose(${dim0}, ${dim1})`);
    const a = wrapDimension(dim0, this.rank, fail);
    const b = wrapDimension(dim1, this.rank, fail);
    if (this.rank === 0) return this;
    const swap = (values: Sizes) => withValue(withValue(values, a, values[b]), b, values[a]);
    return new Layout(swap(this.shape), swap(this.strides), this.offset);
  }

  /** Dimension i of the result is this layout's dimension `order[i]`. */
  permute(order: Sizes): Layout {
    const fail: Fail = this.failing(`permute(${list(order)})`);
    if (order.length !== this.rank) {
      // PyTorch says sparse_coo for every kind of tensor.
      fail(
        'permute(sparse_coo): number of dimensions in the tensor input does not match the length ' +
          `of the desired ordering of dimensions i.e. input.dim() = ${this.rank} is not equal ` +
          `to len(dims) = ${order.length}`,
      );
    }
    const from = order.map((dim) => wrapDimension(dim, this.rank, fail));
    if (new Set(from).size !== this.rank) fail('permute(): duplicate dims are not allowed.');
    return new Layout(
      from.map((d) => this.shape[d]),
      from.map((d) => this.strides[d]),
      this.offset,
    );
  }

  /** Repeats dimensions of size 1 with stride 0, and adds new ones in front; −1 keeps a size. */
  expand(sizes: Sizes): Layout {
    const fail: Fail = this.failing(`expand(${list(sizes)})`);
    const { shape, strides } = expandGeometry(this.shape, this.strides, sizes, fail);
    return new Layout(shape, strides, this.offset);
  }

  /** Removes the dimensions of size 1, or only `dim` if its size is 1. */
  squeeze(dim?: number): Layout {
    const fail: Fail = this.failing(`squeeze(${dim ?? ''})`);
    const only = dim === undefined ? undefined : wrapDimension(dim, this.rank, fail);
    const stays = (_: number, d: number) =>
      this.shape[d] !== 1 || (only !== undefined && d !== only);
    return new Layout(this.shape.filter(stays), this.strides.filter(stays), this.offset);
  }

  /** Inserts a dimension of size 1 in front of `dim`; −1 puts it last. */
  unsqueeze(dim: number): Layout {
    const fail: Fail = this.failing(`unsqueeze(${dim})`);
    const d = wrapDimension(dim, this.rank + 1, fail);
    const stride = d < this.rank ? this.shape[d] * this.strides[d] : 1;
    return new Layout(
      this.shape.toSpliced(d, 0, 1),
      this.strides.toSpliced(d, 0, stride),
      this.offset,
    );
  }

  private relayout(shape: Sizes): Relayout {
    const strides = viewStrides(this.shape, this.strides, shape);
    if (strides) return { layout: new Layout(shape, strides, this.offset), copied: false };
    return { layout: Layout.contiguous(shape), copied: true };
  }

  private failing(operation: string): Fail {
    return (reason) => {
      throw new LayoutError(reason, operation, this);
    };
  }
}
