// The Stride Lab's lessons against PyTorch's word: each chain's answer, and that what a lesson
// calls right is right.

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
  const opened = parseChain(text);
  if ('problem' in opened) throw new Error(opened.problem);
  return opened.stages;
};
const valuesOf = (text: string) => goldens.find(({ id }) => id === text)?.values;

test('PyTorch has answered every lesson, and nothing else', () => {
  const chains = LESSONS.flatMap(({ chain, beside }) => (beside ? [chain, beside.chain] : [chain]));
  expect(goldens.map(({ id }) => id)).toEqual(chains);
});

test.each(goldens)('$id gives what PyTorch gives', ({ id, shape, ...golden }) => {
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

describe('what the lessons say', () => {
  const asked = LESSONS.filter(({ options }) => options.length === Object.keys(OUTCOMES).length);

  test.each(asked)('$title: the right answer is what happens', ({ chain, options, right }) => {
    expect(options[right]).toBe(OUTCOMES[outcomeOf(stagesOf(chain).at(-1)!)]);
  });

  test('each outcome is the answer to some lesson', () => {
    expect(new Set(asked.map(({ options, right }) => options[right])).size).toBe(
      Object.keys(OUTCOMES).length,
    );
  });

  test('the scrambled heads: head 0 has positions 0 and 1 whole, where it should have features 0 to 2 of all four', () => {
    const lesson = LESSONS.find(({ beside }) => beside)!;
    expect(lesson.options[lesson.right]).toBe('No, it gets other numbers');
    expect(valuesOf(lesson.chain)?.slice(0, 12)).toEqual(Array.from({ length: 12 }, (_, i) => i));
    const meant = [0, 1, 2, 3].flatMap((position) =>
      [0, 1, 2].map((feature) => position * 6 + feature),
    );
    expect(valuesOf(lesson.beside!.chain)?.slice(0, 12)).toEqual(meant);
  });

  test('the copy of a (4, 127, 50257) slice is 51 MB', () => {
    expect(Math.round((4 * 127 * 50257 * DTYPE.bytes) / 1e6)).toBe(51);
    expect(LESSONS[1].answer).toContain('(4, 127, 50257) slice in f16 that is 51 MB');
  });
});
