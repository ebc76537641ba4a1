// The elements of a view: each index, and the storage cell that it reads.

import type { Layout } from '../../tensor/layout';
import { product } from '../../tensor/strides';

/**
 * What the pointer or the focus is on: an element of the view, by its number in row order, or a
 * storage cell that no index reaches.
 */
export type PointerTarget = { element: number } | { unreadCell: number };

export interface ViewElement {
  index: number[];
  cell: number;
}

/** The elements of a view, in row order. */
export function elementsOf(layout: Layout): ViewElement[] {
  const { shape } = layout;
  const steps = shape.map((_, d) => product(shape.slice(d + 1)));
  return [...layout.addresses()].map((cell, n) => ({
    index: shape.map((size, d) => Math.floor(n / steps[d]) % size),
    cell,
  }));
}

/** The sum that gives the cell of an index, in numbers: `0 + 1·24 + 2·6`. */
export function addressSum(index: readonly number[], { strides, offset }: Layout): string {
  return [offset, ...index.map((at, d) => `${at}·${strides[d]}`)].join(' + ');
}
