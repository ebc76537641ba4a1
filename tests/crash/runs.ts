// Runs that are kept, on the command line and on the page, cut off while they train, are labelled,
// dropped, packed and taken in.

import { DiskStorage } from '../../src/cli/disk-storage';
import { packFile, unpackFile } from '../../src/cli/run-file';
import { DEFAULTS } from '../../src/config';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import {
  type Arrays,
  type Checkpoint,
  CheckpointError,
  readNewest,
} from '../../src/runs/checkpoint';
import { JOURNAL, type Journal, parseJournal } from '../../src/runs/journal';
import { RunKeeper, type RunPlace } from '../../src/runs/keeper';
import { Library } from '../../src/runs/library';
import { MemoryStorage } from '../../src/runs/memory-storage';
import type { RunRow } from '../../src/runs/row';
import { openRunFile, packRun, unpackRun } from '../../src/runs/run-file';
import { inFolder, type RunStorage } from '../../src/runs/storage';
import type { Sweep } from '../../src/runs/sweep';
import { readTexts } from '../../src/runs/texts';
import { OpfsStorage } from '../../src/worker/opfs-storage';
import type { Attack } from '../fuzz/run';
import { cuts, expectThat, type Scenario } from './cuts';
import type { Disk } from './disk';
import { mount } from './node-disk';
import { usePageDisk } from './page-disk';

const STEPS = 9;
const EVALUATION_STEPS = 3;
const config = { ...DEFAULTS, train_steps: STEPS };
const facts = { config, student: { n_embd: 16 }, dtype: 'f32' as const, adapter: 'a', data: 'abc' };
const text = { name: 'a.txt', bytes: new TextEncoder().encode('Call me Ishmael. '.repeat(20)) };
const own = { files: [text], reading: { format: 'text' } };
const settings = (id: string, time = '2026-11-26T10:00:00Z') => ({
  id,
  time,
  link: '#',
  config,
  adapter: { name: 'a' },
  dtype: 'f32' as const,
  student: facts.student,
});
const arraysAt = (step: number): Arrays => {
  const array = Float32Array.from({ length: 48 }, (_, i) => step + i).buffer;
  return { step, master: array, mean: array, square: array, scaler: array };
};
const WHOLE = { tried: 1, succeeded: 1, failed: 0, tokens: 5 };
const recordOf = (step: number) =>
  ({ step, applied: true, loss: 9 - step / 4, lossScale: 1, tokens: 100 }) as StepRecord;
const alone = (storage: RunStorage): RunPlace => ({
  storage,
  refresh: async () => {},
  makeRoom: async () => false,
});

/** Trains to the end, from `from` or from the start. */
async function train(
  place: RunPlace,
  id: string,
  { from, done = () => {}, time }: { from?: number; done?: (what: string) => void; time?: string },
): Promise<void> {
  let problem: unknown;
  const keeper = new RunKeeper(place, id, (why) => {
    problem = why;
  });
  const told = settings(id, time);
  await (from === undefined ? keeper.begin(told, own) : keeper.resume(from, told));
  for (let step = (from ?? 0) + 1; step <= STEPS && !problem; step++) {
    keeper.report.step(recordOf(step));
    if (step % EVALUATION_STEPS > 0) continue;
    keeper.report.evaluation({ step, ...WHOLE, studentPerplexity: 50 } as EvaluationRecord);
    await keeper.save(facts, arraysAt(step), step);
    if (!problem) done(`${id} at ${step}`);
  }
  await keeper.close();
  await keeper.settle();
  if (problem) throw problem;
}

/** The last step of a run that was saved. */
const savedStep = (id: string, done: ReadonlySet<string>) =>
  Math.max(
    0,
    ...[...done].flatMap((what) => {
      const [name, step] = what.split(' at ');
      return name === id && step ? [Number(step)] : [];
    }),
  );

async function checkpointOf(storage: RunStorage, id: string): Promise<Checkpoint | undefined> {
  try {
    return await readNewest(storage, id, (what) => expectThat(false, what));
  } catch (error) {
    if (error instanceof CheckpointError && error.kind === 'none') return undefined;
    throw error;
  }
}

/** Each step up to `last` is there once, as it was written. */
function requireSteps({ steps, settings: told }: Journal, last: number): void {
  expectThat(told !== undefined, 'the journal begins with no settings');
  const found = steps.filter(({ step }) => step <= last);
  const isWhole = found.every(
    ({ step, loss }, i) => step === i + 1 && loss === recordOf(step).loss,
  );
  expectThat(
    isWhole && found.length === last,
    `of ${last} steps: ${found.map(({ step }) => step)}`,
  );
}

/** What is kept of a run is right, as far as it goes; it trains on to its end. */
async function requireWhole(place: RunPlace, id: string, least: number, trainOn = true) {
  const { storage } = place;
  const journalOf = async () =>
    parseJournal(new TextDecoder().decode(await storage.read(inFolder(id, JOURNAL))));
  const saved = await checkpointOf(storage, id);
  const step = saved?.snapshot.step ?? 0;
  expectThat(step >= least, `the checkpoint of step ${least} is lost: there is ${step}`);
  if (saved) {
    const isRight = Object.entries(arraysAt(step)).every(
      ([name, array]) =>
        typeof array === 'number' ||
        !Buffer.compare(Buffer.from(array), Buffer.from(saved.snapshot[name as 'master'])),
    );
    expectThat(isRight, `the checkpoint of step ${step} is another`);
    const journal = await journalOf();
    requireSteps(journal, step);
    const texts = await readTexts(storage, id, journal.settings?.texts);
    expectThat(
      texts?.[0].bytes.length === text.bytes.length && !Buffer.compare(texts[0].bytes, text.bytes),
      'the run’s text is lost',
    );
  }
  if (!trainOn) return;
  await train(place, id, { from: saved && step });
  const journal = await journalOf();
  requireSteps(journal, STEPS);
  expectThat(journal.damaged.length === 0, `damaged lines: ${journal.damaged}`);
  expectThat((await checkpointOf(storage, id))?.snapshot.step === STEPS, 'it does not end');
}

const inNode = (disk: Disk) => new DiskStorage(`${mount(disk)}/out/run`);
const onPage = (disk: Disk) => {
  usePageDisk(disk);
  return OpfsStorage.open('runs');
};

const trains = (
  name: string,
  page: boolean,
  open: (disk: Disk) => Promise<RunStorage>,
): Scenario => {
  const id = page ? '20261126-100000-aaaaaa' : '';
  return {
    name,
    page,
    work: async (disk, done) => train(alone(await open(disk)), id, { done }),
    async check(disk, done, lost) {
      const least = savedStep(id, done);
      // The names of the last checkpoint and of its file, and one that made room.
      const kept = lost ? Math.max(0, least - EVALUATION_STEPS) : least;
      await requireWhole(alone(await open(disk)), id, kept);
    },
  };
};

/** A checkpoint without checksums, and an index, as older versions left them. */
async function asBefore(storage: RunStorage, id: string): Promise<void> {
  const { step, ...arrays } = arraysAt(EVALUATION_STEPS);
  const bytes = Object.values(arrays).map((array) => new Uint8Array(array as ArrayBuffer));
  const header = { version: 1, step, bytes: bytes.map(({ length }) => length), ...facts };
  const utf8 = (value: string) => new TextEncoder().encode(value);
  const texts = { names: [text.name], reading: own.reading };
  const lines = [
    { type: 'config', version: 1, ...settings(id), texts },
    ...[1, 2, 3, 4].map((at) => ({ type: 'step', ...recordOf(at) })),
  ];
  await storage.write(inFolder(id, 'text-0'), [text.bytes]);
  await storage.write(inFolder(id, 'checkpoint.bin'), [
    utf8(`${JSON.stringify(header)}\n`),
    ...bytes,
  ]);
  await storage.write(inFolder(id, JOURNAL), [
    utf8(lines.map((line) => `${JSON.stringify(line)}\n`).join('')),
  ]);
  if (id !== '') await storage.write('index.json', [utf8('{"version":1,"rows":[{"id":"x"}]}')]);
}

const migrates: Scenario = {
  name: 'a run of an older version goes on',
  start: (disk) => asBefore(inNode(disk), ''),
  work: (disk, done) => train(alone(inNode(disk)), '', { from: EVALUATION_STEPS, done }),
  check: (disk, done) =>
    requireWhole(alone(inNode(disk)), '', Math.max(EVALUATION_STEPS, savedStep('', done))),
};

// The run store.

const [PINNED, OLD, DELETED, LIVE, TAKEN, UPGRADED] = ['a', 'b', 'c', 'd', 'e', 'f'].map(
  (letter, i) => `20261126-10000${i}-${letter.repeat(6)}`,
);
const ALL = [PINNED, OLD, DELETED, LIVE, TAKEN, UPGRADED];
const NOTE = 'the best of them';
const LONG_AGO = '2026-11-26T11:00:00Z';
const SWEEP = { id: 's', time: LONG_AGO } as Sweep;
const BUDGET = 1;

/** What an index says otherwise than the folders. */
const different = (index: readonly RunRow[], folders: readonly RunRow[]) =>
  JSON.stringify(
    [index, folders].map((rows) =>
      rows.map(({ id, label, checkpoint, bytes, spareBytes, step }) => [
        ...[id, label, checkpoint, bytes, spareBytes, step],
      ]),
    ),
  );

function libraryOn(storage: RunStorage, open: string[] = []): Library {
  const exclusive = <Value>(task: () => Promise<Value>) => task();
  return new Library(storage, { exclusive, open: async () => new Set(open) });
}

/** A run's file. */
const packed = (async () => {
  const storage = new MemoryStorage();
  await train(alone(storage), '', {});
  return packRun(storage, '', 'taken', '');
})();

const keeps = (
  name: string,
  page: boolean,
  open: (disk: Disk) => Promise<RunStorage>,
): Scenario => ({
  name,
  page,
  share: 0.5,
  async start(disk) {
    const storage = await open(disk);
    const library = libraryOn(storage);
    for (const [i, id] of [PINNED, OLD, DELETED].entries())
      await train(library, id, { time: `2026-11-26T10:00:0${i}Z` });
    await asBefore(storage, UPGRADED);
    await library.rows();
  },
  async work(disk, done) {
    const storage = await open(disk);
    const library = libraryOn(storage);
    const step = async (what: string, task: Promise<unknown>) => {
      await task;
      done(what);
    };
    await step('pinned', library.label(PINNED, { pinned: true, note: NOTE }));
    await step('deleted', library.label(DELETED, { deleted: LONG_AGO }));
    await step('sweep', library.keepSweep(SWEEP));
    await library.tidy();
    await step(
      'taken',
      (async () => {
        await unpackRun(await openRunFile('a.run.zip', await packed), storage, TAKEN);
        await library.refresh(TAKEN);
      })(),
    );
    await train(libraryOn(storage, [LIVE]), LIVE, { done });
    await library.refresh(LIVE);
    await step('budget', library.setBudget(BUDGET));
    await library.tidy();
    done('tidy');
  },
  async check(disk, done, lost) {
    const storage = await open(disk);
    const library = libraryOn(storage);
    const has = (what: string) => !lost && done.has(what);
    const rows = await library.rows();
    await storage.remove('index.json');
    const fresh = await library.rows();
    expectThat(
      JSON.stringify(rows.map(({ open: _, ...row }) => row)) ===
        JSON.stringify(fresh.map(({ open: _, ...row }) => row)),
      `the index tells ${different(rows, fresh)}`,
    );
    const budget = await library.budget();
    expectThat(budget === BUDGET || (budget === 1e9 && !has('budget')), `a budget of ${budget}`);
    const sweeps = await library.sweeps();
    expectThat(sweeps.length === 1 || !has('sweep'), 'the sweep is lost');
    // The budget may have begun to drop what is finished, and keeps what is pinned.
    const dropping = budget === BUDGET;
    const rowOf = (id: string) => fresh.find((row) => row.id === id);
    const pinned = rowOf(PINNED);
    expectThat(pinned !== undefined, 'the pinned run is lost');
    expectThat(pinned?.label.note === NOTE || !has('pinned'), 'the note is lost');
    const drops = [OLD, TAKEN, LIVE].filter((id) => !rowOf(id));
    expectThat(dropping || drops.every((id) => id !== OLD), 'a run is lost');
    expectThat(dropping || rowOf(TAKEN) !== undefined || !has('taken'), 'the taken run is lost');
    if (has('tidy')) expectThat(fresh.length <= 2, `${fresh.length} runs over the budget`);
    // On a page that opens, what is left in pieces goes, and what is shown is whole.
    await library.tidy();
    for (const row of await library.rows()) {
      expectThat(row.id !== DELETED || !has('deleted'), 'a deleted run is back');
      expectThat(ALL.includes(row.id), `a run ${row.id}`);
      const least = row.id === LIVE && !lost && !dropping ? savedStep(LIVE, done) : 0;
      await requireWhole(library, row.id, row.checkpoint ?? least, false);
      if (row.checkpoint === undefined)
        expectThat(row.state !== 'unreadable', 'a run without records or checkpoint');
    }
  },
});

// Files.

const FILE = 'kept/a.run.zip';

const packs: Scenario = {
  name: 'a run as one file',
  async start(disk) {
    await train(alone(inNode(disk)), '', {});
    await packFile(inNode(disk), `${mount(disk)}/${FILE}`);
  },
  work: (disk) => packFile(inNode(disk), `${mount(disk)}/${FILE}`),
  async check(disk) {
    const storage = new MemoryStorage();
    // One was there before, so there is always one.
    await unpackFile(`${mount(disk)}/${FILE}`, storage);
    await requireWhole(alone(storage), '', STEPS, false);
  },
};

const unpacks: Scenario = {
  name: 'a run’s file unpacked',
  async start(disk) {
    await train(alone(inNode(disk)), '', {});
    await packFile(inNode(disk), `${mount(disk)}/${FILE}`);
  },
  async work(disk, done) {
    const path = mount(disk);
    await unpackFile(`${path}/${FILE}`, new DiskStorage(`${path}/new`));
    done('unpacked');
  },
  async check(disk, done) {
    const path = mount(disk);
    const storage = new DiskStorage(`${path}/new`);
    // Without records there is no run, and it can be unpacked again.
    const isRun = (await storage.read(JOURNAL)) !== undefined;
    expectThat(isRun || !done.has('unpacked'), 'the records are lost');
    if (isRun) await requireWhole(alone(storage), '', STEPS, false);
    await unpackFile(`${path}/${FILE}`, storage);
    await requireWhole(alone(storage), '', STEPS);
  },
};

export const RUN_CUTS: readonly Attack[] = [
  trains('a run in Node', false, async (disk) => inNode(disk)),
  trains('a run of the page', true, onPage),
  migrates,
  keeps('the run store on disk', false, async (disk) => inNode(disk)),
  keeps('the run store of the page', true, onPage),
  packs,
  unpacks,
].map(cuts);
