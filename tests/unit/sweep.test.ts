// A sweep as data: the grid that a person types, what is next, what is best, how long it takes.

import { expect, test } from 'vitest';
import { parseFlags } from '../../src/cli/flags';
import { sweepRuns } from '../../src/cli/sweep';
import { DEFAULTS } from '../../src/config';
import { Library } from '../../src/runs/library';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { isRunId } from '../../src/runs/names';
import type { RunRow } from '../../src/runs/row';
import {
  gridOf,
  isDone,
  nextRun,
  planSweep,
  SWEPT,
  type Sweep,
  settled,
  suggestedValues,
  withOutcome,
  withoutFailures,
} from '../../src/runs/sweep';
import { bestSentence, groupsOf, secondsOf } from '../../src/runs/sweep-result';

const grid = (...axes: [name: (typeof SWEPT)[number], text: string][]) =>
  gridOf(
    DEFAULTS,
    axes.map(([name, text]) => ({ name, text })),
  );

test('a grid takes each value of one field with each of the other', () => {
  expect(grid(['alpha', '0.2, 0.8'], ['seed', '1,2'])).toEqual({
    configs: [
      { ...DEFAULTS, alpha: 0.2, seed: 1 },
      { ...DEFAULTS, alpha: 0.2, seed: 2 },
      { ...DEFAULTS, alpha: 0.8, seed: 1 },
      { ...DEFAULTS, alpha: 0.8, seed: 2 },
    ],
  });
  const layers = gridOf({ ...DEFAULTS, student_model: 'teacher', student_from_layers: '0,3' }, [
    { name: 'student_from_layers', text: '0,3; 0,1' },
  ]);
  expect(layers).toMatchObject({
    configs: [{ student_from_layers: '0,3' }, { student_from_layers: '0,1' }],
  });
});

test.each([
  [grid(['alpha', ' ']), 'alpha has no values. List them, separated by commas.'],
  [grid(['alpha', '0.5, 2']), 'alpha is 2. It must be a number from 0 to 1.'],
  [grid(['alpha', '0.5, half']), 'alpha is "half". It must be a number from 0 to 1.'],
  [grid(['loss', 'ce, kl']), /^loss is "kl"\. It must be one of mixed, ce, /],
  [grid(['alpha', '0.5, .5']), 'alpha lists .5 twice. List it once.'],
  [grid(['alpha', '0.5']), 'That is one run. List at least two values.'],
  [grid(['alpha', '0,.1,.2'], ['seed', '1,2,3']), 'These are 9 runs. A sweep has at most 8.'],
  [grid(['seed', '1,2'], ['seed', '3,4']), /Both fields are the same/],
  // What checkConfig says of each run.
  [grid(['student_width', '64, 65']), /student_width is 65 and student_heads is 2\./],
])('what cannot be run is refused: %#', (result, message) => {
  expect('problems' in result && result.problems).toEqual([expect.stringMatching(message)]);
});

test('every field begins with values that it accepts, around its own', () => {
  expect(suggestedValues('student_lr', DEFAULTS)).toBe('0.003, 0.006, 0.012');
  expect(suggestedValues('alpha', DEFAULTS)).toBe('0.35, 0.7, 1');
  for (const name of SWEPT) {
    const result = grid([name, suggestedValues(name, DEFAULTS)]);
    const problems = 'problems' in result ? result.problems.join() : '';
    const expected = /^(That is one run|\w+ has no values).*|.*(multiple of|but lora_rank is 0).*/;
    expect(problems.replace(expected, '')).toBe('');
  }
});

function sweepOf(...axes: Parameters<typeof grid>): Sweep {
  const result = grid(...axes);
  if ('problems' in result) throw new Error(result.problems.join());
  return planSweep(
    result.configs,
    axes.map(([name]) => name),
  );
}

const ended = (perplexity: number) => ({ step: 200, perplexity, seconds: 10 });
const rowOf = (sweep: Sweep, index: number, values: Partial<RunRow>) =>
  ({
    id: sweep.runs[index].id,
    config: sweep.runs[index].config,
    label: {},
    seconds: 5,
    ...values,
  }) as RunRow;

test('the next run is the first that has not ended, from its checkpoint if it has one', () => {
  let sweep = sweepOf(['seed', '1,2,3']);
  const ids = sweep.runs.map(({ id }) => id);
  expect(ids.every(isRunId) && new Set(ids).size === 3).toBe(true);
  expect(nextRun(sweep, [])).toEqual({ run: sweep.runs[0] });
  // The page was closed as the first run ended and while the second trained.
  const rows = [
    rowOf(sweep, 0, { state: 'finished', step: 200, perplexity: 41, open: false }),
    rowOf(sweep, 1, { state: 'stopped', step: 90, checkpoint: 80 }),
  ];
  sweep = settled(sweep, rows);
  expect(sweep.runs.map(({ outcome }) => outcome?.perplexity)).toEqual([41, undefined, undefined]);
  expect(nextRun(sweep, rows)).toEqual({ run: sweep.runs[1], row: rows[1] });
  // Before its first checkpoint a run starts again, under the same id.
  expect(nextRun(sweep, [rowOf(sweep, 1, { state: 'stopped', step: 3 })])).toEqual({
    run: sweep.runs[1],
  });
  // What was deleted is not run again.
  sweep = settled(sweep, [rowOf(sweep, 1, { state: 'stopped', label: { deleted: 'today' } })]);
  expect(nextRun(sweep, [])?.run.id).toBe(ids[2]);
  sweep = withOutcome(sweep, ids[2], { ...ended(40), problem: 'No room.' });
  expect([isDone(sweep), nextRun(sweep, [])]).toEqual([true, undefined]);
  const again = withoutFailures(sweep);
  expect(again.runs.map(({ outcome }) => outcome !== undefined)).toEqual([true, false, false]);
});

function finished(perplexities: number[], ...axes: Parameters<typeof grid>): Sweep {
  const sweep = sweepOf(...axes);
  return sweep.runs.reduce(
    (done, { id }, i) =>
      perplexities[i] === undefined ? done : withOutcome(done, id, ended(perplexities[i])),
    sweep,
  );
}

test.each([
  [finished([41.4], ['alpha', '0.2,0.5']), undefined],
  [
    finished([44, 40], ['alpha', '0.2,0.5']),
    'Best is α 0.5: held-out perplexity 40.0, 4.00 (9.1%) lower than α 0.2 with 44.0. ' +
      'This is one seed each: another may differ by a few per cent.',
  ],
  [
    finished([41, 42, 43], ['seed', '1,2,3']),
    'Held-out perplexity is 42.0 ± 1.0 over 3 seeds (mean and standard deviation), ' +
      'from 41.0 to 43.0. A smaller difference between two runs may be chance.',
  ],
  [
    finished([44, 45, 40, 41], ['alpha', '0.2,0.5'], ['seed', '1,2']),
    'Best is α 0.5: held-out perplexity 40.5 ± 0.7 over 2 seeds, 4.00 (9.0%) lower than α 0.2 ' +
      'with 44.5 ± 0.7 over 2 seeds. Seed by seed it is 4.00 ± 0.00 lower.',
  ],
  [
    finished([41, 43, 42, 40], ['alpha', '0.2,0.5'], ['seed', '1,2']),
    expect.stringMatching(/Seed by seed it is 1\.00 ± 2\.83 lower: it may be chance\.$/),
  ],
  [
    finished([44, 40], ['max_length', '32,64']),
    expect.stringMatching(/Context also changes the held-out text that is measured/),
  ],
])('the best is named with its margin and what that is worth: %#', (sweep, sentence) => {
  expect(bestSentence(sweep)).toEqual(sentence);
});

test('runs that failed are compared with none', () => {
  const sweep = finished([44, 40], ['alpha', '0.2,0.5,0.8']);
  const failed = withOutcome(sweep, sweep.runs[2].id, { ...ended(30), problem: 'NaN' });
  expect(groupsOf(failed).map(({ values }) => values)).toEqual(['α 0.5', 'α 0.2']);
});

test('time is estimated from the run that is most alike, by its tokens', () => {
  const small = { config: DEFAULTS, step: 100, seconds: 10, time: '1' };
  const wide = { ...small, config: { ...DEFAULTS, student_width: 128 }, seconds: 30, time: '2' };
  expect(secondsOf([DEFAULTS], [])).toBeUndefined();
  expect(secondsOf([DEFAULTS], [small, wide])).toBeCloseTo(20);
  const long = { ...DEFAULTS, max_length: 128, student_width: 128 };
  expect(secondsOf([DEFAULTS, long], [small, wide])).toBeCloseTo(20 + 120);
});

test('on the command line each run of a sweep has its own settings and folder', () => {
  const plan = (...args: string[]) => {
    const flags = parseFlags(['--output_dir', 'out', '--alpha', '0.5', ...args]);
    if (flags === 'help' || 'problems' in flags) return flags;
    return sweepRuns(flags, { ...DEFAULTS, alpha: 0.5 });
  };
  const planned = plan('--sweep', 'seed=1,2', 'loss=mixed,ce');
  const runs = typeof planned === 'object' && 'runs' in planned ? planned.runs : [];
  expect(runs.map(({ flags: { outputDir, settings } }) => [outputDir, settings])).toEqual([
    ['out/seed=1,loss=mixed', { alpha: 0.5, seed: 1, loss: 'mixed' }],
    ['out/seed=1,loss=ce', { alpha: 0.5, seed: 1, loss: 'ce' }],
    ['out/seed=2,loss=mixed', { alpha: 0.5, seed: 2, loss: 'mixed' }],
    ['out/seed=2,loss=ce', { alpha: 0.5, seed: 2, loss: 'ce' }],
  ]);
  expect(plan('--sweep', 'beta')).toEqual({
    problems: ['--sweep is “beta”. It must be a setting and its values, as in alpha=0,0.5.'],
  });
  expect(plan('--sweep', 'alpha=0,3')).toEqual({
    problems: ['--sweep: alpha is 3. It must be a number from 0 to 1.'],
  });
  expect(plan('--sweep', 'alpha=0,1', '--resume')).toEqual({
    problems: ['--resume is for one run. Leave it out of a sweep.'],
  });
});

test('the library keeps sweeps as they grow, the newest first', async () => {
  const storage = new MemoryStorage();
  const library = new Library(storage, {
    exclusive: (task) => task(),
    open: async () => new Set(),
  });
  expect(await library.sweeps()).toEqual([]);
  const old = { ...sweepOf(['seed', '1,2']), time: '2026-11-25' };
  const young = { ...sweepOf(['alpha', '0,1']), time: '2026-11-26' };
  for (const sweep of [young, old]) await library.keepSweep(sweep);
  const grown = withOutcome(old, old.runs[0].id, ended(41));
  await library.keepSweep(grown);
  expect(await library.sweeps()).toEqual([young, grown]);
  expect(await library.rows()).toEqual([]);
  await storage.write('sweeps.json', [new Uint8Array([1])]);
  expect(await library.sweeps()).toEqual([]);
});
