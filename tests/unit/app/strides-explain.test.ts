// The Stride Lab's explanations: for every view that fails, the cells' addresses confirm the break
// that the explanation names.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Operation } from '../../../src/app/strides/chain';
import { LIMITS, run } from '../../../src/app/strides/chain';
import { parseChain } from '../../../src/app/strides/chain-text';
import { explain, findBreak } from '../../../src/app/strides/explain';
import { Layout, LayoutError } from '../../../src/tensor/layout';
import { product } from '../../../src/tensor/strides';
import { chains } from './strides-chains';

function explanationOf(text: string): string[] | undefined {
  const parsed = parseChain(text);
  if ('problem' in parsed) throw new Error(parsed.problem);
  return explain(parsed.stages.at(-1)!)?.sentences;
}

/** The index of the n-th element in row-major order. */
function indexOf(n: number, shape: readonly number[]): number[] {
  return shape.map((size, d) => Math.floor(n / product(shape.slice(d + 1))) % size);
}

function viewExists(layout: Layout, sizes: readonly number[]): boolean {
  try {
    layout.view(sizes);
    return true;
  } catch (error) {
    if (error instanceof LayoutError) return false;
    throw error;
  }
}

/** Arbitrary layouts, each with a new shape of the same number of elements. */
const views = fc
  .array(
    fc.tuple(
      fc.constantFrom(1, 2, 2, 3, 4, 6),
      fc.constantFrom('joined', 'joined', 'other'),
      fc.nat(40),
    ),
    {
      minLength: 1,
      maxLength: 5,
    },
  )
  .chain((dimensions) => {
    const shape: number[] = [];
    const strides: number[] = [];
    for (const [size, kind, other] of dimensions) {
      strides.unshift(kind === 'joined' && shape.length > 0 ? shape[0] * strides[0] : other);
      shape.unshift(size);
    }
    const numel = product(shape);
    const divisors = Array.from({ length: numel }, (_, i) => i + 1).filter((d) => numel % d === 0);
    return fc.array(fc.constantFrom(...divisors), { maxLength: 4 }).map((wanted) => {
      const sizes: number[] = [];
      for (const size of wanted) if ((numel / product(sizes)) % size === 0) sizes.push(size);
      return { layout: new Layout(shape, strides), sizes: [...sizes, numel / product(sizes)] };
    });
  });

test('findBreak finds a break exactly when view fails', () => {
  const counts = { failed: 0, passed: 0 };
  fc.assert(
    fc.property(views, ({ layout, sizes }) => {
      const passes = viewExists(layout, sizes);
      counts[passes ? 'passed' : 'failed']++;
      expect(findBreak(layout, sizes) === undefined).toBe(passes);
    }),
    { numRuns: 2000 },
  );
  expect(Math.min(counts.failed, counts.passed)).toBeGreaterThan(200);
});

test('along the new dimension, steps are equal until the outer index changes', () => {
  let inner = 0;
  fc.assert(
    fc.property(views, ({ layout, sizes }) => {
      const at = findBreak(layout, sizes);
      fc.pre(at !== undefined);
      const { shape, strides } = layout;
      const { left, right, newDimension, regularStep, cells } = at!;
      // Both dimensions have more than one index; those between them have size 1.
      expect(left).toBeLessThan(right);
      expect(Math.min(shape[left], shape[right])).toBeGreaterThan(1);
      expect(shape.slice(left + 1, right).every((size) => size === 1)).toBe(true);
      expect(at!.neededStride).toBe(shape[right] * strides[right]);
      expect(at!.actualStride).toBe(strides[left]);
      expect(at!.actualStride).not.toBe(at!.neededStride);
      // Every line along the new dimension, as element numbers. The reported cells lie on them.
      const step = product(sizes.slice(newDimension + 1));
      const cell = (n: number) => layout.at(...indexOf(n, shape));
      const starts = Array.from({ length: layout.numel }, (_, n) => n).filter(
        (n) => indexOf(n, sizes)[newDimension] === 0,
      );
      const lines = starts.map((n) =>
        Array.from({ length: sizes[newDimension] }, (_, k) => n + k * step),
      );
      expect(regularStep).toEqual(lines[0].slice(0, 2).map(cell));
      const line = lines.find((all) =>
        cells.every((address, k) => k < all.length && cell(all[k]) === address),
      );
      expect(line, `a line with cells ${cells}`).toBeDefined();
      // All steps are equal except the last, and only the last changes the index of `left`.
      const steps = cells.slice(1).map((address, n) => address - cells[n]);
      for (const before of steps.slice(0, -1)) expect(before).toBe(regularStep[1] - regularStep[0]);
      expect(steps.at(-1)! - (regularStep[1] - regularStep[0])).toBe(
        at!.actualStride - at!.neededStride,
      );
      const outer = line!.slice(0, cells.length).map((n) => indexOf(n, shape)[left]);
      expect(outer).toEqual(cells.map((_, n) => (n === cells.length - 1 ? 1 : 0)));
      // Counts breaks further right that the new shape does not span.
      const breaks = [...shape.keys()].filter(
        (d) => d > right && shape[d] > 1 && strides[d - 1] !== shape[d] * strides[d],
      );
      if (breaks.length > 0) inner++;
    }),
    { numRuns: 2000 },
  );
  expect(inner).toBeGreaterThan(20);
});

test('every refusal that the controls can produce has an explanation', () => {
  const refusals: string[] = [];
  fc.assert(
    fc.property(chains, (chain) => {
      // Adds view(-1), the view that fails most often, to each chain that has not failed.
      const before = run(chain).at(-1)!;
      const room = chain.operations.length < LIMITS.operations;
      const line: Operation = { name: 'view', args: [-1] };
      const last =
        before.failure || !room
          ? before
          : run({ ...chain, operations: [...chain.operations, line] }).at(-1)!;
      const sentences = explain(last)?.sentences;
      expect(sentences === undefined).toBe(last.failure === undefined);
      if (sentences) refusals.push(sentences[0]);
    }),
    { numRuns: 1000 },
  );
  expect(
    refusals.filter((sentence) => sentence.includes('would have to span dimensions')).length,
  ).toBeGreaterThan(20);
});

test('the story’s slice: the two dimensions, the stride needed, the stride found', () => {
  expect(explanationOf('2,4,6:slice(1,0,-1):view(-1,6)')).toEqual([
    'Dimension 0 of the new shape, of size 6, would have to span ' +
      'dimensions 0 and 1 of the old shape.',
    'To merge with dimension 1, dimension 0 would need stride 3 × 6 = 18. Its stride is 24.',
    'Along the new dimension the cells are 0, 6, 12, then 24: steps of 6, then a step of 12. ' +
      'One stride cannot do both.',
  ]);
});

test('a break at a border between new dimensions is ignored', () => {
  // Strides [48, 8, 1] over sizes [2, 2, 4]: dimensions 1 and 2 do not merge either, but the new
  // shape has a border there.
  expect(explanationOf('2,6,8:slice(1,0,2):slice(2,0,4):view(4,4)')?.[1]).toBe(
    'To merge with dimension 1, dimension 0 would need stride 2 × 8 = 16. Its stride is 48.',
  );
});

test('two lines show the two steps when one line is too short', () => {
  expect(explanationOf('3,8:slice(1,0,4):view(2,2,3)')?.[2]).toBe(
    'Along the new dimension cell 3 follows cell 0, and cell 8 follows cell 1: ' +
      'a step of 3 and a step of 7. One stride cannot do both.',
  );
});

test('other refusals name the sizes that do not fit', () => {
  expect(explanationOf('2,3')).toBeUndefined();
  expect(explanationOf('2,3:view(7)')).toEqual([
    'The new shape has 7 elements, but the tensor has 6. The two must be equal.',
  ]);
  expect(explanationOf('2,3:reshape(2,2)')).toEqual([
    'The new shape has 2 × 2 = 4 elements, but the tensor has 6. The two must be equal.',
  ]);
  expect(explanationOf('2,3:view(-1,4)')).toEqual([
    'The tensor has 6 elements, and 4 does not divide 6. No whole number can replace -1.',
  ]);
  expect(explanationOf('2,3:view(-1,-1)')?.[0]).toContain(
    'With more than one -1 there is no single answer.',
  );
  expect(explanationOf('1,3:expand(2,4)')?.[0]).toContain('Dimension 1 has size 3 and stride 1.');
  expect(explanationOf('3:expand(-1,3)')?.[0]).toContain(
    'dimension 0 of the new shape is new and has no old size',
  );
});
