// Explains why PyTorch refuses an operation, from the layout that it was called on. For a view: the
// two dimensions that cannot merge, the stride that merging needs, and the stride found. Pure, and
// independent of the search in Layout.

import type { Layout } from '../../tensor/layout';
import type { Sizes } from '../../tensor/strides';
import { inferShape, product } from '../../tensor/strides';
import type { Stage } from './chain';

/** Two neighbouring dimensions that a view cannot merge. Dimensions of size 1 are ignored. */
export interface Break {
  left: number;
  right: number;
  /** The stride that `left` needs in order to merge with `right`: size × stride of `right`. */
  neededStride: number;
  /** The stride of `left`. */
  actualStride: number;
  /** The dimension of the new shape that would span both. */
  newDimension: number;
  /** Two neighbouring cells along the new dimension, within one index of `left`. */
  regularStep: [number, number];
  /** Neighbouring cells along the new dimension. The step to the last one crosses the break. */
  cells: number[];
}

export interface Explanation {
  sentences: string[];
  /** Storage cells that the sentences mention. */
  cells: number[];
}

/**
 * The rightmost break inside a dimension of the new shape; undefined if the view exists. `sizes`
 * must have no −1 and the layout's number of elements, at least one.
 */
export function findBreak(layout: Layout, sizes: Sizes): Break | undefined {
  const { shape, strides } = layout;
  const dimensions = [...shape.keys()].filter((d) => shape[d] !== 1);
  for (let i = dimensions.length - 1; i > 0; i--) {
    const [left, right] = [dimensions[i - 1], dimensions[i]];
    const neededStride = shape[right] * strides[right];
    const actualStride = strides[left];
    if (actualStride === neededStride) continue;
    // A break at a border between new dimensions is harmless: the new stride starts there.
    const inner = product(shape.slice(right));
    const stepOf = (d: number) => product(sizes.slice(d + 1));
    const newDimension = sizes.findIndex(
      (size, d) => stepOf(d) < inner && inner < stepOf(d) * size,
    );
    if (newDimension === -1) continue;
    const step = stepOf(newDimension);
    const addresses = [...layout.addresses()];
    // The first line along the new dimension that crosses the break: the line from element 0 if it
    // is long enough.
    const start = Math.max(0, inner - (sizes[newDimension] - 1) * step);
    const count = Math.ceil((inner - start) / step) + 1;
    return {
      left,
      right,
      neededStride,
      actualStride,
      newDimension,
      regularStep: [addresses[0], addresses[step]],
      cells: Array.from({ length: count }, (_, n) => addresses[start + n * step]),
    };
  }
  return undefined;
}

/** Why a stage failed; undefined for a stage that did not. */
export function explain({ failure, operation, layout }: Stage): Explanation | undefined {
  if (!failure || !operation) return undefined;
  const sizes = operation.args as Sizes;
  if (operation.name === 'expand') return { sentences: explainExpand(layout, sizes), cells: [] };
  const sentences = explainCount(layout, sizes);
  if (sentences) return { sentences, cells: [] };
  const newShape = inferShape(sizes, layout.numel, (reason) => {
    throw new Error(`explain: ${reason}`);
  });
  const at = findBreak(layout, newShape);
  if (!at) {
    throw new Error(
      `explain: view to ${newShape} failed on ${layout}, and no break was found. Report this.`,
    );
  }
  return {
    sentences: explainBreak(layout, newShape, at),
    cells: [...at.regularStep, ...at.cells],
  };
}

function explainBreak({ shape, strides }: Layout, sizes: Sizes, at: Break): string[] {
  const { left, right, neededStride, actualStride, newDimension } = at;
  return [
    `Dimension ${newDimension} of the new shape, of size ${sizes[newDimension]}, would have to ` +
      `span dimensions ${left} and ${right} of the old shape.`,
    `To merge with dimension ${right}, dimension ${left} would need stride ` +
      `${shape[right]} × ${strides[right]} = ${neededStride}. Its stride is ${actualStride}.`,
    `${stepsAlong(at)} One stride cannot do both.`,
  ];
}

function stepsAlong({ regularStep: [from, to], cells }: Break): string {
  const last = cells.length - 1;
  const jump = cells[last] - cells[last - 1];
  if (last > 1) {
    return (
      `Along the new dimension the cells are ${listed(cells.slice(0, last))}, ` +
      `then ${cells[last]}: steps of ${to - from}, then a step of ${jump}.`
    );
  }
  return (
    `Along the new dimension cell ${to} follows cell ${from}, and cell ${cells[1]} follows ` +
    `cell ${cells[0]}: a step of ${to - from} and a step of ${jump}.`
  );
}

/** A longer list is abbreviated. */
const MOST_LISTED = 5;

function listed(cells: readonly number[]): string {
  return cells.length <= MOST_LISTED
    ? cells.join(', ')
    : `${cells.slice(0, 3).join(', ')}, … ${cells.at(-1)}`;
}

function explainCount({ numel }: Layout, sizes: Sizes): string[] | undefined {
  const explicit = sizes.filter((size) => size !== -1);
  const inferred = sizes.length - explicit.length;
  const count = product(explicit);
  if (inferred > 1) {
    return [
      'A size of -1 is inferred from the other sizes. With more than one -1 there is no single ' +
        'answer.',
    ];
  }
  const sum = explicit.length > 1 ? `${explicit.join(' × ')} = ${count}` : `${count}`;
  if (inferred === 1 && numel % count !== 0) {
    return [
      `The tensor has ${numel} elements, and ${sum} does not divide ${numel}. ` +
        'No whole number can replace -1.',
    ];
  }
  if (inferred === 0 && count !== numel) {
    return [
      `The new shape has ${sum} elements, but the tensor has ${numel}. The two must be equal.`,
    ];
  }
  return undefined;
}

function explainExpand({ shape, strides }: Layout, sizes: Sizes): string[] {
  const added = sizes.length - shape.length;
  const d = shape.findLastIndex(
    (size, i) => size !== 1 && sizes[i + added] !== -1 && sizes[i + added] !== size,
  );
  if (d === -1) {
    return [
      `-1 keeps the old size, but dimension ${sizes.indexOf(-1)} of the new shape is new and has ` +
        'no old size.',
    ];
  }
  return [
    `Dimension ${d} has size ${shape[d]} and stride ${strides[d]}. Only a dimension of size 1 ` +
      'can be repeated: its stride becomes 0, so every index reads the same cell.',
  ];
}
