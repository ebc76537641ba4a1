// The places of a view: each index, and the cell of the storage that it leads to.

import type { Layout } from '../../tensor/layout';
import { product } from '../../tensor/strides';

/**
 * What is pointed at: a place of the view by its number in row order, or a cell of the storage that
 * no index reaches.
 */
export type Pointed = { place: number } | { unread: number };

export interface Place {
  index: number[];
  cell: number;
}

/** The places of a view, in row order. */
export function placesOf(layout: Layout): Place[] {
  const { shape } = layout;
  const steps = shape.map((_, d) => product(shape.slice(d + 1)));
  return [...layout.addresses()].map((cell, n) => ({
    index: shape.map((size, d) => Math.floor(n / steps[d]) % size),
    cell,
  }));
}

/** From index to cell, in numbers: `0 + 1·24 + 2·6`. */
export function sumOf(index: readonly number[], { strides, offset }: Layout): string {
  return [offset, ...index.map((at, d) => `${at}·${strides[d]}`)].join(' + ');
}
