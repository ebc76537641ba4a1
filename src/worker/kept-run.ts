// A session's kept run: opened under a lock, with its keeper, and what a resumed run posts to the
// page before it continues.

import type { Config } from '../config';
import { checkConfig, DEFAULTS, twinStep } from '../config';
import type { Reading } from '../data/documents';
import type { Run } from '../distill/run';
import { stepFlops } from '../distill/step-flops';
import type { Gpu } from '../gpu/device';
import { formatLink } from '../link';
import { type Checkpoint, type RunFacts, readNewest } from '../runs/checkpoint';
import { damageOf, type Journal, secondsAt } from '../runs/journal';
import { RunKeeper } from '../runs/keeper';
import type { RunStorage } from '../runs/storage';
import { readTexts } from '../runs/texts';
import { corpusName } from './corpus';
import { lockRun, openLibrary, readRun } from './library';
import type { RunEvent, UserCorpus } from './protocol';

export interface KeptRun {
  keeper: RunKeeper;
  storage: RunStorage;
  /** Lets another tab work on the run. */
  release(): Promise<void>;
}

/** @throws StorageError if another tab works on the run */
export async function openKept(id: string, onChange: (problem: unknown) => void): Promise<KeptRun> {
  const release = await lockRun(id);
  const { library } = await openLibrary();
  return { keeper: new RunKeeper(library, id, onChange), storage: library.storage, release };
}

/** A run's choices, as the page made them. */
interface Choices {
  runId: string;
  config: Config;
  corpus?: UserCorpus;
}

/** Starts the run's folder, or goes on in it after `step`. */
export async function startKept(
  { keeper }: KeptRun,
  { runId, config, corpus }: Choices,
  run: Run,
  { adapter }: Gpu,
  facts: RunFacts,
  step?: number,
): Promise<void> {
  const { dtype, student, engine } = facts;
  const settings = {
    id: runId,
    time: new Date().toISOString(),
    link: `#${formatLink(config)}`,
    config: { ...config },
    adapter,
    dtype,
    student,
    engine,
    stepFlops: stepFlops(config, run.student, run.teacherParameters ?? 0),
    models: facts.models,
    data: {
      name: corpusName(config, corpus),
      own: corpus !== undefined,
      sha256: facts.data,
    },
  };
  if (step !== undefined) return keeper.resume(step, settings);
  return keeper.begin(settings, corpus);
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
  const damage = damageOf(journal);
  if (damage) say(damage);
  const { settings } = journal;
  const seconds = secondsAt(journal, snapshot.step);
  const config: Config = { ...DEFAULTS, ...facts.config };
  const files = await readTexts(kept.storage, kept.keeper.id, settings?.texts);
  const corpus = files && { files, reading: settings?.texts?.reading as Reading };
  return { facts: { ...facts, config }, snapshot, journal, seconds, corpus };
}

const stepOf = (event: RunEvent) => ('record' in event ? event.record.step : 0);
const byStep = (a: RunEvent, b: RunEvent) => stepOf(a) - stepOf(b);

/** The run so far, as the events that reported it. */
export function replay(runId: string, continued: Continued): RunEvent[] {
  const { journal, snapshot, facts, seconds, corpus } = continued;
  const until = <R extends { step: number }>(records: readonly R[], last = snapshot.step) =>
    records.filter((record) => record.step <= last);
  const { config } = facts;
  const twinLast = twinStep(config, snapshot.step);
  const told: Config = { ...config, ...journal.settings?.config };
  const initial = checkConfig(told).length === 0 ? told : config;
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
    { type: 'twin-steps', runId, records: until(journal.twin.steps, twinLast) },
    ...until(journal.twin.evaluations, twinLast).map(
      (record): RunEvent => ({ type: 'twin-evaluation', runId, record }),
    ),
    { type: 'note', runId, text: `Continued from step ${snapshot.step}.` },
  ];
}
