// Stride arithmetic on plain arrays, for Layout's methods. Sizes and strides count elements. If
// PyTorch raises an error, `fail` is called with PyTorch's text.

export type Sizes = readonly number[];
export type Fail = (reason: string) => never;

/** Sizes as PyTorch prints them. */
export const list = (values: Sizes) => `[${values.join(', ')}]`;

/** Number of elements of a shape; 1 for a scalar's empty shape. */
export function product(sizes: Sizes): number {
  return sizes.reduce((a, b) => a * b, 1);
}

/** Row-major strides. A size of 0 counts as 1, as in PyTorch. */
export function contiguousStrides(shape: Sizes): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = stride;
    stride *= Math.max(shape[d], 1);
  }
  return strides;
}

/**
 * Whether row-major order walks the storage one element at a time. Dimensions of size 1 may have
 * any stride.
 */
export function stridesAreContiguous(shape: Sizes, strides: Sizes): boolean {
  if (shape.includes(0)) return true;
  let expected = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] === 1) continue;
    if (strides[d] !== expected) return false;
    expected *= shape[d];
  }
  return true;
}

/**
 * The strides that show a tensor's elements, in the same order, as `newShape`; undefined if there
 * are none and a copy is needed. Both shapes must have the same number of elements.
 *
 * Neighbouring dimensions form a block if the left one's stride is size × stride of the right one.
 * Elements of a block are evenly spaced, so it can be split into any sizes with the same product.
 * A new dimension must not span blocks.
 */
export function viewStrides(shape: Sizes, strides: Sizes, newShape: Sizes): number[] | undefined {
  if (shape.length === 0) return newShape.map(() => 1);
  if (shape.includes(0)) {
    // Without elements any strides are right. These are PyTorch's.
    const same = shape.length === newShape.length && shape.every((size, d) => size === newShape[d]);
    return same ? [...strides] : contiguousStrides(newShape);
  }
  const newStrides = new Array<number>(newShape.length);
  let to = newShape.length - 1;
  let blockSize = 1;
  let blockStride = strides[shape.length - 1];
  for (let from = shape.length - 1; from >= 0; from--) {
    blockSize *= shape[from];
    const blockGoesOn =
      from > 0 && (shape[from - 1] === 1 || strides[from - 1] === blockSize * blockStride);
    if (blockGoesOn) continue;
    let filled = 1;
    while (to >= 0 && (filled < blockSize || newShape[to] === 1)) {
      newStrides[to] = filled * blockStride;
      filled *= newShape[to];
      to--;
    }
    if (filled !== blockSize) return undefined;
    blockSize = 1;
    blockStride = strides[from - 1];
  }
  return newStrides;
}

/** `dim`, which may be negative, counted from the front. A scalar counts as one dimension. */
export function wrapDimension(dim: number, rank: number, fail: Fail): number {
  const count = Math.max(rank, 1);
  if (!Number.isInteger(dim) || dim < -count || dim >= count) {
    fail(
      `Dimension out of range (expected to be in range of [${-count}, ${count - 1}], ` +
        `but got ${dim})`,
    );
  }
  return dim < 0 ? dim + count : dim;
}

/** `shape` with its −1, if it has one, replaced by the size that gives `numel` elements. */
export function inferShape(shape: Sizes, numel: number, fail: Fail): number[] {
  let free = -1;
  for (const [d, size] of shape.entries()) {
    if (size === -1) {
      if (free !== -1) fail('only one dimension can be inferred');
      free = d;
    } else if (size < 0 || !Number.isInteger(size)) fail(`invalid shape dimension ${size}`);
  }
  const known = product(shape.filter((size) => size !== -1));
  if (free === -1 && known === numel) return [...shape];
  if (free !== -1 && known > 0 && numel % known === 0)
    return shape.map((size) => (size === -1 ? numel / known : size));
  if (free !== -1 && known === 0 && numel === 0) {
    const why = 'because the unspecified dimension size -1 can be any value and is ambiguous';
    fail(`cannot reshape tensor of 0 elements into shape ${list(shape)} ${why}`);
  }
  return fail(`shape '${list(shape)}' is invalid for input of size ${numel}`);
}

/** Shape and strides of a tensor expanded to `sizes`; −1 keeps a size. */
export function expandGeometry(shape: Sizes, strides: Sizes, sizes: Sizes, fail: Fail) {
  const rank = shape.length;
  const added = sizes.length - rank;
  if (added < 0) {
    // PyTorch names the tensor's type here. A layout has none; most people see float.
    fail(
      `expand(torch.FloatTensor{${list(shape)}}, size=${list(sizes)}): the number of sizes ` +
        `provided (${sizes.length}) must be greater or equal to the number of dimensions ` +
        `in the tensor (${rank})`,
    );
  }
  const newShape = new Array<number>(sizes.length);
  const newStrides = new Array<number>(sizes.length);
  for (let i = sizes.length - 1; i >= 0; i--) {
    const d = i - added;
    const target = sizes[i];
    if (d < 0 && target === -1) {
      fail(
        `The expanded size of the tensor (-1) isn't allowed in a leading, non-existing ` +
          `dimension ${i}`,
      );
    }
    const size = d < 0 ? 1 : shape[d];
    const unchanged = target === -1 || target === size;
    if (!unchanged && size !== 1) {
      fail(
        `The expanded size of the tensor (${target}) must match the existing size (${size}) ` +
          `at non-singleton dimension ${i}.  Target sizes: ${list(sizes)}.  ` +
          `Tensor sizes: ${list(shape)}`,
      );
    }
    if (!unchanged && !(Number.isInteger(target) && target >= 0)) {
      fail(`Trying to create tensor with negative dimension ${target}: ${list(sizes)}`);
    }
    newShape[i] = unchanged ? size : target;
    if (!unchanged || rank === 0) newStrides[i] = 0;
    else newStrides[i] = d < 0 ? newShape[i + 1] * newStrides[i + 1] : strides[d];
  }
  return { shape: newShape, strides: newStrides };
}
