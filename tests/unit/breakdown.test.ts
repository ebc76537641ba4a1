// An evaluation's figures by groups of tokens, and the passages that it finds. They are made up.

import { expect, it } from 'vitest';
import { type Batch, IGNORED_TARGET } from '../../src/data/batches';
import { Breakdown } from '../../src/distill/breakdown';
import type { TokenFigures } from '../../src/distill/evaluate';
import { PassageFinder } from '../../src/distill/passages';
import type { EvaluationRecord } from '../../src/distill/records';

/** Windows of T tokens; a null window is missing, as in the last batch of a short text. */
function batchOf(T: number, windows: (number[] | null)[]): Batch {
  const inputs = new Uint32Array(windows.length * T);
  const targets = new Int32Array(windows.length * T).fill(IGNORED_TARGET);
  for (const [b, window] of windows.entries()) {
    if (!window) continue;
    inputs.set(window, b * T);
    targets.set([...window.slice(1), 0], b * T);
  }
  return { index: 0, inputs, targets };
}

type Column = Exclude<keyof TokenFigures, 'experts'>;

/** Figures that are 0 but for those given. */
function figuresOf(
  tokens: number,
  given: Partial<Record<Column, number[]>>,
  experts: TokenFigures['experts'] = [],
) {
  const column = (name: Column) =>
    Float32Array.from({ length: tokens }, (_, i) => given[name]?.[i] ?? 0);
  return new Proxy({} as TokenFigures, {
    get: (_, name) => (name === 'experts' ? experts : column(name as Column)),
  });
}

const RECORD = { kl: 1, confidence: 0.5 } as EvaluationRecord;

it('groups tokens by their place, by how common they are, and by confidence', () => {
  const breakdown = new Breakdown(5, Uint32Array.of(0, 3, 40));
  const batch = batchOf(5, [[0, 1, 2, 2, 0], null]);
  // Tokens 1, 2, 2, 0 follow 1, 2, 3 and 4 others.
  breakdown.add(
    batch,
    figuresOf(8, {
      kl: [1, 2, 4, 8, 99],
      confidence: [0.05, 0.12, 0.18, 1],
      studentRight: [0, 1, 0, 1],
    }),
  );
  expect(breakdown.of(RECORD)).toEqual({
    klByPosition: [
      [1, 1, 1, 1],
      [2, 3, 2, 3],
      [4, 7, 1, 8],
    ],
    klByFrequency: [
      [0, 0, 1, 8],
      [1, 9, 1, 1],
      [10, 99, 2, 3],
    ],
    calibration: [
      [0, 0.1, 1, 0.05, 0],
      [0.1, 0.2, 2, 0.15, 0.5],
      [0.9, 1, 1, 1, 1],
    ],
  });
});

it('a record keeps four digits of each figure, and no group of a figure that it lacks', () => {
  const breakdown = new Breakdown(4, Uint32Array.of(9, 9));
  breakdown.add(batchOf(4, [[0, 1, 1, 0]]), figuresOf(3, { kl: [1 / 3, 2, 2] }));
  expect(breakdown.of(RECORD).klByPosition).toEqual([
    [1, 1, 1, 0.3333],
    [2, 3, 2, 2],
  ]);
  // A cache of the top k has no confidence; a NaN has no place in JSON.
  expect(Object.keys(breakdown.of({ ...RECORD, confidence: undefined }))).toEqual([
    'klByPosition',
    'klByFrequency',
  ]);
  expect(breakdown.of({ ...RECORD, kl: Number.NaN, confidence: Number.NaN })).toEqual({});
});

const tokenizer = {
  decode: (ids: ArrayLike<number>) => Array.from(ids, (id) => ` w${id}`).join(''),
};

it('finds the worst and the best passage of each window, with the text before them', () => {
  const T = 42;
  const window = Array.from({ length: T }, (_, i) => i);
  // The first 20 labels are bad in one window, the last 20 in the other; one is very bad alone.
  const early = Array.from({ length: T - 1 }, (_, i) => (i < 20 ? 3 : 1));
  const late = Array.from({ length: T - 1 }, (_, i) => (i === 0 ? 9 : i < 21 ? 0.5 : 2));
  const finder = new PassageFinder(T);
  // Of all T tokens of a window: even ones go to one expert, odd ones to the other.
  const chosen = Uint32Array.from({ length: 2 * T }, (_, i) => i % 2);
  const figures = figuresOf(2 * (T - 1), { kl: early }, [{ layer: 1, experts: 2, chosen }]);
  finder.add(batchOf(T, [window, null]), figures);
  finder.add(batchOf(T, [window]), figuresOf(T - 1, { kl: late }));
  const { worst, best } = finder.passages(tokenizer);
  // Of two windows, one passage of each kind.
  expect(worst).toHaveLength(1);
  expect(best).toHaveLength(1);
  const [{ ids, from, before, texts, kl, mean, experts }] = worst;
  expect({ ids, from, before, mean }).toEqual({
    ids: window.slice(0, 21),
    from: 1,
    before: ' w0',
    mean: 3,
  });
  expect(kl).toEqual(Array(20).fill(3));
  expect(experts).toEqual([{ layer: 1, experts: 2, chosen: ids.slice(1).map((id) => id % 2) }]);
  expect(texts).toEqual(Array.from({ length: 20 }, (_, i) => ` w${i + 1}`));
  expect(best[0]).toMatchObject({ from: 2, mean: 0.5, before: ' w0 w1' });
  expect(best[0].ids).toEqual(window.slice(0, 22));
});

it('a window shorter than a passage is one, and one without finite figures is none', () => {
  const finder = new PassageFinder(3);
  finder.add(batchOf(3, [[0, 1, 2]]), figuresOf(2, { kl: [Number.NaN, 1] }));
  expect(finder.passages(tokenizer)).toEqual({ worst: [], best: [] });
  finder.add(batchOf(3, [[0, 1, 2]]), figuresOf(2, { kl: [1, 2] }));
  expect(finder.passages(tokenizer).worst).toEqual([
    { ids: [0, 1, 2], from: 1, before: ' w0', texts: [' w1', ' w2'], kl: [1, 2], mean: 1.5 },
  ]);
});
