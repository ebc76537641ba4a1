// The library of kept runs: rows that follow the folders, labels, what a budget drops, names, and
// what the table shows of them.

import { expect, test } from 'vitest';
import { COLUMNS, csvOf, filtered, sorted, thumbnail } from '../../src/app/runs/columns';
import { DEFAULTS } from '../../src/config';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import type { RunFacts } from '../../src/runs/checkpoint';
import { differences, inWords } from '../../src/runs/difference';
import { RunKeeper } from '../../src/runs/keeper';
import { Library } from '../../src/runs/library';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { isRunId, nameOf, newRunId } from '../../src/runs/names';
import { curveOf, type RunRow, toDrop } from '../../src/runs/row';
import { runAlike, speedOf } from '../../src/runs/speed';
import type { Sweep } from '../../src/runs/sweep';

const config = { ...DEFAULTS, train_steps: 4 };
const facts: RunFacts = {
  config,
  student: { n_embd: 16 },
  dtype: 'f32',
  adapter: 'test',
  engine: 'stillhouse',
  data: 'abc',
};
const settings = (time: string, id: string) => ({
  id,
  time,
  link: '#',
  config,
  adapter: { name: 'test' },
  dtype: 'f32' as const,
  student: facts.student,
  data: { name: 'book', own: false, sha256: 'abc' },
});
const snapshotAt = (step: number) => {
  const master = Float32Array.of(step).buffer;
  return { step, master, mean: master, square: master, scaler: master };
};
const stepAt = (step: number) =>
  ({ step, loss: 9 - step, lossScale: 1, tokens: 100, applied: true }) as StepRecord;
const WHOLE = { tried: 1, succeeded: 1, failed: 0, tokens: 5 };
const evaluationAt = (step: number) =>
  ({ step, ...WHOLE, studentPerplexity: 50 - step, agreement: 0.5 }) as EvaluationRecord;

const fail = (problem: unknown) => expect.fail(String(problem));

/** A library, and the ids of the runs that a tab has open. */
function makeLibrary(storage = new MemoryStorage()) {
  const open = new Set<string>();
  const exclusive = <T>(task: () => Promise<T>) => task();
  return { storage, open, library: new Library(storage, { exclusive, open: async () => open }) };
}

/** Trains a run for so many steps, with an evaluation and a checkpoint after each. */
async function keepRun(library: Library, id: string, time: string, steps: number) {
  const said: unknown[] = [];
  const keeper = new RunKeeper(library, id, (problem) => said.push(problem));
  await keeper.begin(settings(time, id));
  for (let step = 1; step <= steps; step++) {
    keeper.report.step(stepAt(step));
    keeper.report.evaluation(evaluationAt(step));
    await keeper.save(facts, snapshotAt(step), step * 2);
  }
  await keeper.close();
  await keeper.settle();
  return said;
}

test('a run’s row has its settings, how far it came, its last figures and its curve', async () => {
  const { library, storage } = makeLibrary();
  await keepRun(library, 'first-run-1', '2026-11-26T10:00:00Z', 3);
  await keepRun(library, 'second-run', '2026-11-26T11:00:00Z', 4);
  const [second, first] = await library.rows();
  expect(first).toMatchObject({
    id: 'first-run-1',
    name: nameOf('first-run-1'),
    state: 'stopped',
    open: false,
    step: 3,
    checkpoint: 3,
    perplexity: 47,
    seconds: 6,
    tokensPerSecond: 50,
    data: 'book',
    curve: [8, 7, 6],
  });
  expect(first.bytes).toBeGreaterThan(first.spareBytes);
  expect(second.state).toBe('finished');
  // Killed between its last step and the last checkpoint, it can go on.
  const path = 'second-run/checkpoint-4.bin';
  const last = storage.files.get(path) as Uint8Array<ArrayBuffer>;
  storage.files.delete(path);
  await library.refresh('second-run');
  expect((await library.rows())[0]).toMatchObject({ state: 'stopped', step: 4, checkpoint: 3 });
  storage.files.set(path, last);
  await library.refresh('second-run');
  // The index is derived: without it, or with half of it, the rows are the same.
  const rows = await library.rows();
  storage.files.delete('index.json');
  expect(await library.rows()).toEqual(rows);
  storage.files.set('index.json', new TextEncoder().encode('{"version":1,"ro'));
  expect(await library.rows()).toEqual(rows);
});

test('a killed run’s row is brought up to date, and an open one is never offered', async () => {
  const { library, open } = makeLibrary();
  const id = 'killed-run';
  open.add(id);
  const keeper = new RunKeeper(library, id, fail);
  await keeper.begin(settings('2026-11-26T10:00:00Z', id));
  keeper.report.step(stepAt(1));
  await keeper.save(facts, snapshotAt(1), 2);
  expect(await library.rows()).toMatchObject([{ open: true, step: 1 }]);
  keeper.report.step(stepAt(2));
  await keeper.save(facts, snapshotAt(2), 4);
  // The tab is gone, and with it the lock.
  open.delete(id);
  expect(await library.rows()).toMatchObject([{ open: false, state: 'stopped', checkpoint: 2 }]);
});

test('another run lists no folders again, and writes the index no more often', async () => {
  const { library, storage, open } = makeLibrary();
  await library.rows();
  let [lists, writes] = [0, 0];
  const { list, write } = storage;
  storage.list = (folder) => {
    if (folder === '') lists++;
    return list.call(storage, folder);
  };
  storage.write = (path, chunks) => {
    if (path === 'index.json') writes++;
    return write.call(storage, path, chunks);
  };
  // The first makes the index.
  for (const [i, id] of ['run-number-0', 'run-number-1', 'run-number-2'].entries()) {
    open.add(id);
    const keeper = new RunKeeper(library, id, fail);
    await keeper.begin(settings(`2026-11-26T1${i}:00:00Z`, id));
    for (const step of [1, 2]) {
      await keeper.save(facts, snapshotAt(step), step);
      expect((await library.rows())[0]).toMatchObject({ id, open: true, checkpoint: step });
    }
    await keeper.close();
    open.delete(id);
    await keeper.settle();
    expect(await library.rows()).toHaveLength(i + 1);
  }
  expect([lists, writes]).toEqual([1, 6]);
  // What another tab has left half-changed is not in the index.
  await library.label('run-number-1', { note: 'a note' });
  storage.files.set('index.json', new TextEncoder().encode('{"version":2,"rows":[]}'));
  expect(await makeLibrary(storage).library.rows()).toHaveLength(3);
});

test('what a person says of a run stays; a deleted run goes when it cannot be undone', async () => {
  const { library } = makeLibrary();
  await keepRun(library, 'first-run-1', '2026-11-26T10:00:00Z', 2);
  await library.label('first-run-1', { name: 'mine', note: 'a note', pinned: true });
  await library.label('first-run-1', { note: 'another' });
  const label = { name: 'mine', note: 'another', pinned: true };
  expect(await library.rows()).toMatchObject([{ name: 'mine', label }]);
  const deleted = '2026-11-26T12:00:00Z';
  await library.label('first-run-1', { deleted });
  expect(await library.tidy(new Date('2026-11-26T12:05:00Z'))).toEqual([]);
  await library.label('first-run-1', { deleted: undefined });
  expect((await library.rows())[0].label).toEqual(label);
  await library.label('first-run-1', { deleted });
  await library.tidy(new Date('2026-11-26T13:00:00Z'));
  expect(await library.rows()).toEqual([]);
});

test('a run of a later version stays as it is, and is never dropped', async () => {
  const { library, storage } = makeLibrary();
  await keepRun(library, 'future-run', '2026-11-26T10:00:00Z', 4);
  const path = 'future-run/metrics.jsonl';
  const text = new TextDecoder().decode(storage.files.get(path));
  storage.files.set(path, new TextEncoder().encode(text.replace('"version":2', '"version":9')));
  storage.files.delete('index.json');
  await library.setBudget(0);
  expect(await library.tidy()).toEqual([]);
  expect(await library.rows()).toMatchObject([{ state: 'unreadable' }]);
  // Its sweeps, too.
  const sweeps = new TextEncoder().encode('{"version":9,"sweeps":[{"id":"x"}]}');
  storage.files.set('sweeps.json', sweeps);
  expect(await library.sweeps()).toEqual([]);
  await expect(library.keepSweep({ id: 'y' } as Sweep)).rejects.toMatchObject({ kind: 'newer' });
  expect(storage.files.get('sweeps.json')).toBe(sweeps);
});

const row = (fields: Partial<RunRow>): RunRow => ({
  id: 'a-run-of-it',
  name: 'amber still',
  label: {},
  time: '2026-11-26T10:00:00Z',
  config,
  state: 'finished',
  open: false,
  step: 4,
  checkpoint: 4,
  bytes: 100,
  spareBytes: 40,
  seconds: 8,
  adapter: 'test',
  dtype: 'f32',
  data: 'book',
  own: false,
  curve: [],
  ...fields,
});

test('a budget drops deleted runs, spare checkpoints, then old finished runs; never others', () => {
  const rows = [
    row({ id: 'pinned', label: { pinned: true }, time: '1' }),
    row({ id: 'stopped', state: 'stopped', time: '2' }),
    row({ id: 'old', time: '3' }),
    row({ id: 'open', open: true, time: '4' }),
    row({ id: 'deleted', label: { deleted: 'x' }, state: 'stopped', time: '5' }),
    row({ id: 'new', time: '6' }),
  ];
  const drops = (budget: number) =>
    toDrop(rows, budget, new Set(['open'])).map(({ what, id }) => `${what} ${id}`);
  expect(drops(600)).toEqual([]);
  expect(drops(500)).toEqual(['run deleted']);
  expect(drops(450)).toEqual(['run deleted', 'spare stopped', 'spare old']);
  const spares = ['spare stopped', 'spare old', 'spare new'];
  expect(drops(360)).toEqual(['run deleted', ...spares, 'run old']);
  // The stopped run’s last checkpoint, the pinned and the open run stay.
  expect(drops(0)).toEqual(['run deleted', ...spares, 'run old', 'run new']);
});

test('a run is as fast as the kept one whose step is nearest in size, on the same adapter', () => {
  const at = (step: number, seconds?: number) => ({ step, seconds }) as StepRecord;
  // What came before the first step that was timed is left out: kernels compile there.
  expect(speedOf(6e9, [at(1), at(2, 30), at(7, 33), at(22, 40)])).toEqual({
    step: 6e9,
    perSecond: 12e9,
  });
  expect(speedOf(6e9, [at(1, 1), at(5, 2)])).toBe(undefined);
  expect(speedOf(undefined, [at(1, 1), at(22, 40)])).toBe(undefined);

  const speed = (step: number) => ({ step, perSecond: 1e9 });
  const rows = [
    row({ id: 'small', speed: speed(1e9) }),
    row({ id: 'near', speed: speed(5e9) }),
    row({ id: 'elsewhere', speed: speed(6e9), adapter: 'another' }),
    row({ id: 'twins', speed: speed(6e9), config: { ...config, twin: 'loss=ce' } }),
    row({ id: 'unknown' }),
  ];
  const alike = (step: number) =>
    runAlike(rows, { adapter: 'test', dtype: 'f32', config, step })?.id;
  expect([alike(6e9), alike(2e9), alike(1e11)]).toEqual(['near', 'small', undefined]);
});

test('ids sort by time and are valid; names are two words that follow from them', () => {
  const ids = Array.from({ length: 200 }, (_, i) =>
    newRunId(new Date(Date.UTC(2026, 10, 26, 12, 0, i)), (i * 0.37) % 1),
  );
  expect([...ids].sort()).toEqual(ids);
  expect(ids.every(isRunId)).toBe(true);
  expect(['index.json', 'budget.json', '..', 'a/b'].some(isRunId)).toBe(false);
  const names = ids.map(nameOf);
  expect(names.every((name) => /^[a-z]+ [a-z]+$/.test(name))).toBe(true);
  expect(names).toEqual(ids.map(nameOf));
  // Of 200 runs in a row, few share a name: among 5,500 names chance makes about 4 pairs.
  expect(new Set(names).size).toBeGreaterThan(185);
});

test('differences are told as fields and in words', () => {
  const after = { ...DEFAULTS, alpha: 0.5, student_layers: 4, prompt: '' };
  const list = differences(DEFAULTS, after);
  expect(list.map(({ name }) => name)).toEqual(['student_layers', 'alpha', 'prompt']);
  expect(inWords(list)).toContain('Student layers 2 → 4, α 0.7 → 0.5');
  expect(inWords(list)).toMatch(/The whale → empty$/);
  expect(inWords([])).toBe('the same settings');
});

test('the table sorts with pinned runs first, missing values last; filters; has a CSV', () => {
  const rows = [
    row({ id: 'none', time: '1', name: 'bold oak' }),
    row({ id: 'high', time: '2', perplexity: 90 }),
    row({ id: 'low', time: '3', perplexity: 10, config: { ...config, alpha: 0.1 } }),
    row({ id: 'pinned', time: '4', perplexity: 50, label: { pinned: true, note: 'a "good" one' } }),
  ];
  const order = (key: string, descending: boolean) =>
    sorted(rows, { key, descending }, config).map(({ id }) => id);
  expect(order('perplexity', false)).toEqual(['pinned', 'low', 'high', 'none']);
  expect(order('perplexity', true)).toEqual(['pinned', 'high', 'low', 'none']);
  expect(order('name', true)).toEqual(['pinned', 'none', 'low', 'high']);
  const found = (text: string) => filtered(rows, text, config).map(({ id }) => id);
  expect([found('OAK'), found('α 0.1'), found('good amber'), found('nothing')]).toEqual([
    ['none'],
    ['low'],
    ['pinned'],
    [],
  ]);
  const csv = csvOf(rows, config).trimEnd().split('\n');
  expect(csv).toHaveLength(5);
  expect(csv[0].split(',')).toHaveLength(COLUMNS.length + 2);
  expect(csv[4]).toContain('"a ""good"" one"');
});

test('a thumbnail is the mean of equal stretches, from left to right and top to bottom', () => {
  expect(curveOf([4, Number.NaN, 2])).toEqual([4, 2]);
  expect(curveOf(Array.from({ length: 64 }, (_, i) => i)).slice(0, 2)).toEqual([0.5, 2.5]);
  expect(thumbnail([4, 2, 3], 10, 8)).toBe('M0.0 0.0L5.0 8.0L10.0 4.0');
  expect(thumbnail([4], 10, 8)).toBe('');
});
