// The Stride Lab's explanations: the break that is named is one by the addresses themselves, for
// every view that fails.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Operation } from '../../../src/app/strides/chain';
import { LIMITS, run } from '../../../src/app/strides/chain';
import { parseChain } from '../../../src/app/strides/chain-text';
import { explain, findBreak } from '../../../src/app/strides/explain';
import { Layout, LayoutError } from '../../../src/tensor/layout';
import { product } from '../../../src/tensor/strides';
import { chains } from './strides-chains';

function explained(text: string): string[] | undefined {
  const opened = parseChain(text);
  if ('problem' in opened) throw new Error(opened.problem);
  return explain(opened.stages.at(-1)!)?.sentences;
}

/** The index of the n-th element in row-major order. */
function indexOf(n: number, shape: readonly number[]): number[] {
  return shape.map((size, d) => Math.floor(n / product(shape.slice(d + 1))) % size);
}

function exists(layout: Layout, sizes: readonly number[]): boolean {
  try {
    layout.view(sizes);
    return true;
  } catch (error) {
    if (error instanceof LayoutError) return false;
    throw error;
  }
}

/** Layouts that need not come from any chain, with a new shape of as many elements. */
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

test('a break is found exactly where view fails', () => {
  const seen = { failed: 0, passed: 0 };
  fc.assert(
    fc.property(views, ({ layout, sizes }) => {
      const passes = exists(layout, sizes);
      seen[passes ? 'passed' : 'failed']++;
      expect(findBreak(layout, sizes) === undefined).toBe(passes);
    }),
    { numRuns: 2000 },
  );
  expect(Math.min(seen.failed, seen.passed)).toBeGreaterThan(200);
});

test('the named break is one: along the new dimension the cells are even until the old dimensions change', () => {
  let inner = 0;
  fc.assert(
    fc.property(views, ({ layout, sizes }) => {
      const at = findBreak(layout, sizes);
      fc.pre(at !== undefined);
      const { shape, strides } = layout;
      const { left, right, spans, even, walk } = at!;
      // Two dimensions that both move, and nothing that moves between them.
      expect(left).toBeLessThan(right);
      expect(Math.min(shape[left], shape[right])).toBeGreaterThan(1);
      expect(shape.slice(left + 1, right).every((size) => size === 1)).toBe(true);
      expect(at!.needed).toBe(shape[right] * strides[right]);
      expect(at!.found).toBe(strides[left]);
      expect(at!.found).not.toBe(at!.needed);
      // Every line along the new dimension, as old indices: the cells that are told lie on such
      // lines.
      const step = product(sizes.slice(spans + 1));
      const cell = (n: number) => layout.at(...indexOf(n, shape));
      const starts = Array.from({ length: layout.numel }, (_, n) => n).filter(
        (n) => indexOf(n, sizes)[spans] === 0,
      );
      const lines = starts.map((n) => Array.from({ length: sizes[spans] }, (_, k) => n + k * step));
      expect(even).toEqual(lines[0].slice(0, 2).map(cell));
      const line = lines.find((all) =>
        walk.every((address, k) => k < all.length && cell(all[k]) === address),
      );
      expect(line, `a line that holds ${walk}`).toBeDefined();
      // Steps are even but for the last; that one leaves the first index of `left`, and no other
      // does.
      const steps = walk.slice(1).map((address, n) => address - walk[n]);
      for (const before of steps.slice(0, -1)) expect(before).toBe(even[1] - even[0]);
      expect(steps.at(-1)! - (even[1] - even[0])).toBe(at!.found - at!.needed);
      const outer = line!.slice(0, walk.length).map((n) => indexOf(n, shape)[left]);
      expect(outer).toEqual(walk.map((_, n) => (n === walk.length - 1 ? 1 : 0)));
      // It need not be the first place where the layout is not contiguous.
      const breaks = [...shape.keys()].filter(
        (d) => d > right && shape[d] > 1 && strides[d - 1] !== shape[d] * strides[d],
      );
      if (breaks.length > 0) inner++;
    }),
    { numRuns: 2000 },
  );
  expect(inner).toBeGreaterThan(20);
});

test('every refusal that the controls can reach is explained', () => {
  const refusals: string[] = [];
  fc.assert(
    fc.property(chains, (chain) => {
      // To each chain that still stands, the view that is refused most often.
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
    refusals.filter((sentence) => sentence.includes('would have to run through')).length,
  ).toBeGreaterThan(20);
});

test('the story’s slice: which dimensions, which stride was needed, which was there', () => {
  expect(explained('2,4,6:slice(1,0,-1):view(-1,6)')).toEqual([
    'Dimension 0 of the new shape, of size 6, would have to run through dimensions 0 and 1 of the old one.',
    'Dimension 0 must have stride 3 × 6 = 18 to be walked in one go with dimension 1; it has 24.',
    'Along the new dimension lie cells 0, 6, 12, then 24: steps of 6, then one of 12. One stride cannot do both.',
  ]);
});

test('a break between new dimensions is passed over', () => {
  // Strides [48, 8, 1] over sizes [2, 2, 4]: 1 and 2 do not join either, but the new shape parts
  // there.
  expect(explained('2,6,8:slice(1,0,2):slice(2,0,4):view(4,4)')?.[1]).toBe(
    'Dimension 0 must have stride 2 × 8 = 16 to be walked in one go with dimension 1; it has 48.',
  );
});

test('a line too short to show both steps is told with another', () => {
  expect(explained('3,8:slice(1,0,4):view(2,2,3)')?.[2]).toBe(
    'Along the new dimension cell 3 comes after cell 0, and cell 8 after cell 1: a step of 3, and one of 7. ' +
      'One stride cannot do both.',
  );
});

test('refusals that are not about strides say what does not fit', () => {
  expect(explained('2,3')).toBeUndefined();
  expect(explained('2,3:view(7)')).toEqual([
    'The sizes ask for 7 elements, and the tensor has 6. A new shape must hold just those.',
  ]);
  expect(explained('2,3:reshape(2,2)')).toEqual([
    'The sizes ask for 2 × 2 = 4 elements, and the tensor has 6. A new shape must hold just those.',
  ]);
  expect(explained('2,3:view(-1,4)')).toEqual([
    'The tensor has 6 elements, and 4 does not divide 6: no whole number can stand for -1.',
  ]);
  expect(explained('2,3:view(-1,-1)')?.[0]).toContain(
    'With two of them there is no single answer.',
  );
  expect(explained('1,3:expand(2,4)')?.[0]).toContain('Dimension 1 has size 3 and stride 1.');
  expect(explained('3:expand(-1,3)')?.[0]).toContain(
    'dimension 0 of the new shape has no old size to keep',
  );
});
