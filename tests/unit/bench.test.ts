// The benchmark prints only times of contestants that agree, taken in turns, and each figure beside
// its target.

import { expect, test } from 'vitest';
import { type Contestant, interleaved, median } from '../bench/interleave';
import { parseOptions, WORKLOADS } from '../bench/options';
import { Disagreement, distance, furthest, type Result, requireAgreement } from '../bench/result';
import { formatResult } from '../bench/table';

test('the flags are read, and invalid ones are named', () => {
  expect(parseOptions([])).toEqual({ only: [...WORKLOADS] });
  expect(parseOptions(['--only', 'w1,W3', '--turns', '7', '--json', 'a.json'])).toEqual({
    only: ['W1', 'W3'],
    turns: 7,
    json: 'a.json',
  });
  expect(() => parseOptions(['--only', 'W9'])).toThrow(
    'bench: --only names W9; choose from W1, W2, W3, W4, W5, W6, W7.',
  );
  expect(() => parseOptions(['--turns', '1.5'])).toThrow(
    '--turns is 1.5; it must be a whole number of at least 1',
  );
  expect(() => parseOptions(['--turns'])).toThrow('--turns needs a value');
  expect(() => parseOptions(['--fast', '1'])).toThrow('there is no flag --fast');
});

test('contestants take turns, warm up untimed, and are prepared before each run', async () => {
  const calls: string[] = [];
  const contestant = (name: string): Contestant => ({
    name,
    prepare: async () => void calls.push(`(${name})`),
    run: async () => void calls.push(name),
  });
  const timings = await interleaved([contestant('a'), contestant('b')], 2, 1);
  expect(calls.join(' ')).toBe('(a) a (b) b (a) a (b) b (a) a (b) b');
  expect(timings.map(({ name, milliseconds }) => [name, milliseconds.length])).toEqual([
    ['a', 2],
    ['b', 2],
  ]);
});

test('the median is the middle one, or halfway between two', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
});

const agreement = (difference: number) => ({
  what: 'losses',
  reason: 'rounding',
  rows: [{ name: 'other', difference, limit: 1e-5 }],
});

test('a difference over its limit, or NaN, stops the benchmark', () => {
  expect(requireAgreement(agreement(1e-6)).what).toBe('losses');
  expect(() => requireAgreement(agreement(2e-5))).toThrow(Disagreement);
  expect(() => requireAgreement(agreement(2e-5))).toThrow(
    'losses: other differs by 2.0e-5, limit 1e-5 (rounding)',
  );
  expect(() => requireAgreement(agreement(Number.NaN))).toThrow(Disagreement);
});

test('differences are relative, and lists of different lengths never match', () => {
  expect(furthest([1.1, 2], [1, 2])).toBeCloseTo(0.1);
  expect(furthest([1], [1, 2])).toBeNaN();
  expect(furthest([Number.NaN, 2], [1, 2])).toBeNaN();
  expect(distance(Float32Array.of(3, 5), Float32Array.of(3, 4))).toBeCloseTo(1 / 5);
  expect(distance(Float32Array.of(3), Float32Array.of(3, 4))).toBeNaN();
});

test('a result compares with the first row, and names missed targets', () => {
  const row = (name: string, time: number) => ({
    name,
    median: time,
    min: time - 1,
    milliseconds: [time],
  });
  const result: Result = {
    workload: 'W1',
    title: 'a step',
    agreement: [agreement(1e-6)],
    notes: ['Left out: none.'],
    tables: [
      {
        title: 'Times',
        rows: [row('ours', 10), { ...row('theirs', 25), figures: { 'tokens/s': 1234.5 } }],
      },
      ...['y', 'dx'].map((line, i) => ({
        title: line,
        grid: { title: 'GFLOP/s', row: line, figure: 'GFLOP/s' },
        rows: [{ ...row('ours', 1), figures: { 'GFLOP/s': 5 + i } }, row('theirs', 1)],
      })),
    ],
    figures: [
      { what: 'theirs over ours', value: 2.5, atLeast: 3 },
      { what: 'memory', value: 0.05, atMost: 0.1 },
    ],
  };
  expect(formatResult(result).split('\n')).toEqual([
    '## W1: a step',
    '',
    'Agreement: losses. Differences from the first: other 1.0e-6 (limit 1e-5). ' +
      'Reason for the limit: rounding.',
    '',
    'Times',
    '',
    '|  | median ms | min ms | × the first | tokens/s |',
    '| --- | ---: | ---: | ---: | ---: |',
    '| ours | 10.0 | 9.00 | 1.00 |  |',
    '| theirs | 25.0 | 24.0 | 2.50 | 1235 |',
    '',
    'GFLOP/s',
    '',
    '|  | ours | theirs |',
    '| --- | ---: | ---: |',
    '| y | 5.00 |  |',
    '| dx | 6.00 |  |',
    '',
    '- theirs over ours: 2.50, target at least 3: MISSED',
    '- memory: 0.050, target at most 0.1: met',
    '',
    'Left out: none.',
  ]);
});
