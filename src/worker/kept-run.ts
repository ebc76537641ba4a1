// A session's kept run: opened under a lock, with its keeper, the texts that it needs to go on, and
// what a resumed run posts to the page before it continues.

import type { Config } from '../config';
import { DEFAULTS } from '../config';
import type { Reading } from '../data/documents';
import { type Checkpoint, readNewest } from '../runs/checkpoint';
import type { Journal, RunSettings } from '../runs/journal';
import { RunKeeper } from '../runs/keeper';
import type { RunStorage } from '../runs/storage';
import { lockRun, openLibrary, readRun } from './library';
import type { RunEvent, UserCorpus } from './protocol';

/** The user's own files in a run's folder. Longer ones are not kept, and must be chosen again. */
const LONGEST_TEXTS = 64 * 2 ** 20;

export interface KeptRun {
  keeper: RunKeeper;
  storage: RunStorage;
  /** Lets another tab work on the run. */
  release(): Promise<void>;
}

/** @throws StorageError if another tab works on the run */
export async function openKept(id: string, say: (text: string) => void): Promise<KeptRun> {
  const release = await lockRun(id);
  const { library } = await openLibrary();
  return { keeper: new RunKeeper(library, id, say), storage: library.storage, release };
}

/** Keeps the user's files beside the run. Undefined for the built-in book, and if too long. */
export async function keepTexts(
  { storage, keeper }: KeptRun,
  corpus: UserCorpus | undefined,
): Promise<RunSettings['texts']> {
  const bytes = corpus?.files.reduce((sum, file) => sum + file.bytes.byteLength, 0) ?? 0;
  if (!corpus || bytes > LONGEST_TEXTS) return undefined;
  for (const [i, file] of corpus.files.entries())
    await storage.write(`${keeper.id}/text-${i}`, [new Uint8Array(file.bytes).slice()]);
  return { names: corpus.files.map(({ name }) => name), reading: corpus.reading };
}

async function readTexts(
  { storage, keeper }: KeptRun,
  texts: RunSettings['texts'],
): Promise<UserCorpus | undefined> {
  if (!texts) return undefined;
  const files = [];
  for (const [i, name] of texts.names.entries()) {
    const bytes = await storage.read(`${keeper.id}/text-${i}`);
    if (!bytes) return undefined;
    files.push({ name, bytes });
  }
  return { files, reading: texts.reading as Reading };
}

/** What a run goes on from. */
export interface Continued extends Checkpoint {
  journal: Journal;
  seconds: number;
  corpus?: UserCorpus;
}

/** @throws CheckpointError if no checkpoint serves */
export async function continueFrom(kept: KeptRun, say: (text: string) => void): Promise<Continued> {
  const { facts, snapshot } = await readNewest(kept.storage, kept.keeper.id, say);
  const journal = await readRun(kept.keeper.id);
  const { timings, settings } = journal;
  const seconds = timings.findLast(({ step }) => step <= snapshot.step)?.seconds ?? 0;
  const config: Config = { ...DEFAULTS, ...facts.config };
  const corpus = await readTexts(kept, settings?.texts);
  return { facts: { ...facts, config }, snapshot, journal, seconds, corpus };
}

const stepOf = (event: RunEvent) => ('record' in event ? event.record.step : 0);
const byStep = (a: RunEvent, b: RunEvent) => stepOf(a) - stepOf(b);

/** The run so far, as the events that reported it. */
export function replay(runId: string, continued: Continued): RunEvent[] {
  const { journal, snapshot, facts, seconds, corpus } = continued;
  const until = <R extends { step: number }>(records: readonly R[]) =>
    records.filter((record) => record.step <= snapshot.step);
  const { config } = facts;
  const initial: Config = { ...config, ...journal.settings?.config };
  return [
    { type: 'continued', runId, step: snapshot.step, seconds, initial, config, corpus },
    ...until(journal.changes).map((change): RunEvent => ({ type: 'changed', runId, ...change })),
    { type: 'steps', runId, records: until(journal.steps) },
    // A history takes samples in the order of their steps, whether evaluated or not.
    ...[
      ...until(journal.evaluations).map(
        (record): RunEvent => ({ type: 'evaluation', runId, record }),
      ),
      ...until(journal.samples).map((record): RunEvent => ({ type: 'sample', runId, record })),
    ].sort(byStep),
    { type: 'twin-steps', runId, records: until(journal.twin.steps) },
    ...until(journal.twin.evaluations).map(
      (record): RunEvent => ({ type: 'twin-evaluation', runId, record }),
    ),
    { type: 'note', runId, text: `Continued from step ${snapshot.step}.` },
  ];
}
