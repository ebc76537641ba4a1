// The Stride Lab's lessons agree with PyTorch: the result of each chain, and the option that each
// lesson marks as right.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { DTYPE, outcomeOf } from '../../../src/app/strides/chain';
import { parseChain } from '../../../src/app/strides/chain-text';
import { LESSONS, OUTCOMES } from '../../../src/app/strides/lessons';

interface Golden {
  id: string;
  shape: number[];
  error?: string;
  at?: number;
  result?: {
    shape: number[];
    stride: number[];
    storage_offset: number;
    contiguous: boolean;
    copied: boolean;
  };
  values?: number[];
}

const goldens = readFileSync('tests/fixtures/goldens/lessons.jsonl', 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as Golden);

const stagesOf = (text: string) => {
  const parsed = parseChain(text);
  if ('problem' in parsed) throw new Error(parsed.problem);
  return parsed.stages;
};
const valuesOf = (text: string) => goldens.find(({ id }) => id === text)?.values;

test('the goldens are exactly the lessons’ chains', () => {
  const chains = LESSONS.flatMap(({ chain, beside }) => (beside ? [chain, beside.chain] : [chain]));
  expect(goldens.map(({ id }) => id)).toEqual(chains);
});

test.each(goldens)('$id gives PyTorch’s result', ({ id, shape, ...golden }) => {
  const stages = stagesOf(id);
  const { layout, storage, failure } = stages.at(-1)!;
  expect(stages[0].layout.shape).toEqual(shape);
  if (failure) {
    expect({ error: failure.reason, at: stages.length - 2 }).toEqual({
      error: golden.error,
      at: golden.at,
    });
    return;
  }
  expect(golden.result).toMatchObject({
    shape: layout.shape,
    stride: layout.strides,
    storage_offset: layout.offset,
    contiguous: layout.isContiguous,
    copied: stages.some(({ copied }) => copied),
  });
  expect([...layout.addresses()].map((address) => storage.values[address])).toEqual(golden.values);
});

describe('the lessons’ answers', () => {
  const outcomeLessons = LESSONS.filter(
    ({ options }) => options.length === Object.keys(OUTCOMES).length,
  );

  test.each(outcomeLessons)(
    '$title: the right option is the chain’s outcome',
    ({ chain, options, right }) => {
      expect(options[right]).toBe(OUTCOMES[outcomeOf(stagesOf(chain).at(-1)!)]);
    },
  );

  test('every outcome is the answer of some lesson', () => {
    expect(new Set(outcomeLessons.map(({ options, right }) => options[right])).size).toBe(
      Object.keys(OUTCOMES).length,
    );
  });

  test('scrambled heads: head 0 has two positions, not its features of all four', () => {
    const lesson = LESSONS.find(({ beside }) => beside)!;
    expect(lesson.options[lesson.right]).toBe('No, it gets the wrong numbers');
    expect(valuesOf(lesson.chain)?.slice(0, 12)).toEqual(Array.from({ length: 12 }, (_, i) => i));
    const expected = [0, 1, 2, 3].flatMap((position) =>
      [0, 1, 2].map((feature) => position * 6 + feature),
    );
    expect(valuesOf(lesson.beside!.chain)?.slice(0, 12)).toEqual(expected);
  });

  test('the copy of a (4, 127, 50257) slice is 51 MB', () => {
    expect(Math.round((4 * 127 * 50257 * DTYPE.bytes) / 1e6)).toBe(51);
    expect(LESSONS[1].answer).toContain('(4, 127, 50257) slice in f16 that is 51 MB');
  });
});
