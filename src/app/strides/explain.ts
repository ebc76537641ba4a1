// Why PyTorch refuses an operation of the lab, from the numbers of the layout that it met: for a
// view, which two dimensions do not join, which stride was needed, which was there. Pure; it
// repeats no step of Layout's own search.

import type { Layout } from '../../tensor/layout';
import type { Sizes } from '../../tensor/strides';
import { inferShape, product } from '../../tensor/strides';
import type { Stage } from './chain';

/**
 * Where a view breaks. Dimensions `left` and `right` are neighbours, but for dimensions of size 1
 * between them.
 */
export interface Break {
  left: number;
  right: number;
  /** The stride that `left` needs to be walked in one go with `right`: size × stride of `right`. */
  needed: number;
  /** The stride that it has. */
  found: number;
  /** The dimension of the new shape that would have to run through both. */
  spans: number;
  /** Two neighbouring cells along that dimension, within one index of `left`. */
  even: [number, number];
  /**
   * Neighbouring cells along that dimension; the last is the first beyond the break, and not as far
   * off as the others.
   */
  walk: number[];
}

export interface Explanation {
  sentences: string[];
  /** Cells of the storage that the sentences speak of. */
  cells: number[];
}

/**
 * The rightmost place where the chain of strides breaks inside a dimension of the new shape;
 * undefined if the view exists. `sizes` has no −1, and as many elements as the layout, which are at
 * least one.
 */
export function findBreak(layout: Layout, sizes: Sizes): Break | undefined {
  const { shape, strides } = layout;
  const wide = [...shape.keys()].filter((d) => shape[d] !== 1);
  for (let i = wide.length - 1; i > 0; i--) {
    const [left, right] = [wide[i - 1], wide[i]];
    const needed = shape[right] * strides[right];
    const found = strides[left];
    if (found === needed) continue;
    // A break at a border between new dimensions does no harm: there a new stride begins.
    const inside = product(shape.slice(right));
    const stepOf = (d: number) => product(sizes.slice(d + 1));
    const spans = sizes.findIndex((size, d) => stepOf(d) < inside && inside < stepOf(d) * size);
    if (spans === -1) continue;
    const step = stepOf(spans);
    const addresses = [...layout.addresses()];
    // The first of the lines along `spans` that reaches over the break: the one from index 0, if
    // that is long enough.
    const start = Math.max(0, inside - (sizes[spans] - 1) * step);
    const stops = Math.ceil((inside - start) / step) + 1;
    const walk = Array.from({ length: stops }, (_, n) => addresses[start + n * step]);
    return { left, right, needed, found, spans, even: [addresses[0], addresses[step]], walk };
  }
  return undefined;
}

/** Why a stage failed; nothing for one that did not. */
export function explain({ failure, operation, layout }: Stage): Explanation | undefined {
  if (!failure || !operation) return undefined;
  const sizes = operation.args as Sizes;
  if (operation.name === 'expand') return { sentences: explainExpand(layout, sizes), cells: [] };
  const counts = explainCount(layout, sizes);
  if (counts) return { sentences: counts, cells: [] };
  const wanted = inferShape(sizes, layout.numel, (reason) => {
    throw new Error(`explain: ${reason}`);
  });
  const found = findBreak(layout, wanted);
  if (!found)
    throw new Error(
      `explain: view to ${wanted} failed on ${layout}, and no break was found. Report this.`,
    );
  return { sentences: explainBreak(layout, wanted, found), cells: [...found.even, ...found.walk] };
}

function explainBreak({ shape, strides }: Layout, sizes: Sizes, at: Break): string[] {
  const { left, right, needed, found, spans } = at;
  return [
    `Dimension ${spans} of the new shape, of size ${sizes[spans]}, would have to run through dimensions ${left} and ${right} of the old one.`,
    `Dimension ${left} must have stride ${shape[right]} × ${strides[right]} = ${needed} to be walked in one go with dimension ${right}; it has ${found}.`,
    `${toldAlong(at)} One stride cannot do both.`,
  ];
}

function toldAlong({ even: [from, to], walk }: Break): string {
  const last = walk.length - 1;
  const jump = walk[last] - walk[last - 1];
  if (last > 1) {
    return (
      `Along the new dimension lie cells ${listed(walk.slice(0, last))}, then ${walk[last]}: ` +
      `steps of ${to - from}, then one of ${jump}.`
    );
  }
  return (
    `Along the new dimension cell ${to} comes after cell ${from}, and cell ${walk[1]} after cell ${walk[0]}: ` +
    `a step of ${to - from}, and one of ${jump}.`
  );
}

/** Beyond this, a walk is told by its ends. */
const MOST_LISTED = 5;

function listed(cells: readonly number[]): string {
  return cells.length <= MOST_LISTED
    ? cells.join(', ')
    : `${cells.slice(0, 3).join(', ')}, … ${cells.at(-1)}`;
}

function explainCount({ numel }: Layout, sizes: Sizes): string[] | undefined {
  const given = sizes.filter((size) => size !== -1);
  const free = sizes.length - given.length;
  const asked = product(given);
  if (free > 1)
    return [
      'Each -1 is worked out from the other sizes. With two of them there is no single answer.',
    ];
  const sum = given.length > 1 ? `${given.join(' × ')} = ${asked}` : `${asked}`;
  if (free === 1 && numel % asked !== 0) {
    return [
      `The tensor has ${numel} elements, and ${sum} does not divide ${numel}: no whole number can stand for -1.`,
    ];
  }
  if (free === 0 && asked !== numel) {
    return [
      `The sizes ask for ${sum} elements, and the tensor has ${numel}. A new shape must hold just those.`,
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
      `-1 keeps a size, and dimension ${sizes.indexOf(-1)} of the new shape has no old size to keep.`,
    ];
  }
  return [
    `Dimension ${d} has size ${shape[d]} and stride ${strides[d]}. Only a dimension of size 1 can be repeated: ` +
      'its stride becomes 0, so that every index reads the same cell.',
  ];
}
