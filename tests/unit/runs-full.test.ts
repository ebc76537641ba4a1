// A run trains on where it cannot be kept, and is kept where there is room again. What a run that
// is killed loses is in tests/crash.

import { expect, test, vi } from 'vitest';
import { DEFAULTS } from '../../src/config';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import type { RunFacts } from '../../src/runs/checkpoint';
import { RunKeeper } from '../../src/runs/keeper';
import { Library } from '../../src/runs/library';
import { MemoryStorage } from '../../src/runs/memory-storage';
import type { RunStorage } from '../../src/runs/storage';

const STEPS = 12;
const EVALUATION_STEPS = 3;
const config = { ...DEFAULTS, train_steps: STEPS };
const facts: RunFacts = {
  config,
  student: { n_embd: 16 },
  dtype: 'f32',
  adapter: 'test',
  engine: 'stillhouse',
  data: 'abc',
};
const settings = (id: string) => ({
  id,
  time: '2026-11-26T10:00:00Z',
  link: '#',
  config,
  adapter: { name: 'test' },
  dtype: 'f32' as const,
  student: facts.student,
});
const snapshotAt = (step: number) => {
  const master = Float32Array.from({ length: 1024 }, (_, i) => step + i).buffer;
  return { step, master, mean: master, square: master, scaler: master };
};
const WHOLE = { tried: 1, succeeded: 1, failed: 0, tokens: 5 };
const recordOf = (step: number) =>
  ({ step, applied: true, loss: 9 - step / 4, lossScale: 1, tokens: 100 }) as StepRecord;

function makeLibrary(storage: RunStorage) {
  const exclusive = <T>(task: () => Promise<T>) => task();
  return new Library(storage, { exclusive, open: async () => new Set() });
}

interface Course {
  id: string;
  /** Called after each step. */
  after?: (step: number) => void;
  onChange?: (problem: unknown) => void;
}

/** Trains a run. */
async function train(library: Library, course: Course): Promise<void> {
  const { id, after = () => {}, onChange = (problem) => expect.fail(`${problem}`) } = course;
  const keeper = new RunKeeper(library, id, onChange);
  await keeper.begin(settings(id));
  for (let step = 1; step <= STEPS; step++) {
    keeper.report.step(recordOf(step));
    if (step % EVALUATION_STEPS === 0) {
      keeper.report.evaluation({ step, ...WHOLE, studentPerplexity: 50 } as EvaluationRecord);
      if (await keeper.isDue(0)) await keeper.save(facts, snapshotAt(step), step);
    }
    after(step);
  }
  await keeper.close();
  await keeper.settle();
}

/** A library with a finished run, in a storage without room for another checkpoint. */
async function fullLibrary() {
  const storage = new MemoryStorage();
  const library = makeLibrary(storage);
  await train(library, { id: 'finished-run' });
  const used = [...storage.files.values()].reduce((sum, { length }) => sum + length, 0);
  storage.capacity = used + 1000;
  return { storage, library };
}

test('a full disk is told once; with room again, the run is kept with all records', async () => {
  const { storage, library } = await fullLibrary();
  // The other run's spare checkpoint made room for the start, and no more.
  const changes: unknown[] = [];
  const capacity = storage.capacity;
  await train(library, {
    id: 'second-run',
    onChange: (problem) => changes.push(problem),
    after: (step) => {
      storage.capacity = step < 8 ? capacity - 20_000 : Number.POSITIVE_INFINITY;
    },
  });
  expect(changes).toEqual([expect.objectContaining({ kind: 'full' }), undefined]);
  const journal = await library.journal('second-run');
  expect(journal?.steps.map(({ step }) => step)).toEqual(
    Array.from({ length: STEPS }, (_, i) => i + 1),
  );
  const states = (await library.rows()).map(({ state }) => state);
  expect(states).toEqual(['finished', 'finished']);
});

test('a run that ends while the disk is full is kept once there is room', async () => {
  vi.useFakeTimers();
  try {
    const { storage, library } = await fullLibrary();
    storage.capacity = 0;
    const changes: unknown[] = [];
    const keeper = new RunKeeper(library, 'late-run', (problem) => changes.push(problem));
    await keeper.begin(settings('late-run'));
    keeper.report.step(recordOf(STEPS));
    await keeper.save(facts, snapshotAt(STEPS), 1);
    const kept = keeper.insist(() => false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([keeper.failing, keeper.savedStep, changes.length]).toEqual([true, 0, 1]);
    storage.capacity = Number.POSITIVE_INFINITY;
    await vi.advanceTimersByTimeAsync(60_000);
    await kept;
    expect(changes).toEqual([expect.objectContaining({ kind: 'full' }), undefined]);
    const [row] = await library.rows();
    expect(row).toMatchObject({ id: 'late-run', state: 'finished', checkpoint: STEPS });
  } finally {
    vi.useRealTimers();
  }
});

test('on a full disk the runs are listed, and deleting one makes room for the next', async () => {
  const { library, storage } = await fullLibrary();
  // Without room for the index.
  await storage.remove('index.json');
  storage.capacity -= 6000;
  expect(await library.rows()).toMatchObject([{ id: 'finished-run' }]);
  storage.capacity += 6000;
  await library.label('finished-run', { deleted: new Date().toISOString() });
  const changes: unknown[] = [];
  await train(library, { id: 'second-run', onChange: (problem) => changes.push(problem) });
  expect(changes).toEqual([]);
  expect(await library.rows()).toMatchObject([{ id: 'second-run', state: 'finished' }]);
  // Bringing back what is gone makes no run out of nothing.
  await library.label('finished-run', { deleted: undefined });
  expect(await library.rows()).toHaveLength(1);
});

test('a storage that refuses everything is told once, and the run trains to its end', async () => {
  const refused = () => Promise.reject(new Error('The storage is not allowed.'));
  const storage: RunStorage = {
    list: refused,
    read: refused,
    append: refused,
    flush: refused,
    write: refused,
    remove: refused,
    close: refused,
  };
  const changes: unknown[] = [];
  let trained = 0;
  await train(makeLibrary(storage), {
    id: 'refused-run',
    onChange: (problem) => changes.push(problem),
    after: (step) => {
      trained = step;
    },
  });
  expect(trained).toBe(STEPS);
  expect(changes).toEqual([new Error('The storage is not allowed.')]);
});
