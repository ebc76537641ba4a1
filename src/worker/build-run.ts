// Builds a run on an open device, from its settings to the moment before its first evaluation:
// text, models, tokens, kernels. It knows no messages; session.ts and prepared-run.ts listen.

import { textOf } from '../built-in';
import { requireRightKernels } from '../check/before-run';
import type { Config } from '../config';
import { Run } from '../distill/run';
import type { RunEvents } from '../distill/run-events';
import { dtypeOf, newStudent } from '../distill/run-setup';
import type { Snapshot } from '../distill/training-state';
import { browserCache } from '../files/block-cache';
import type { Gpu } from '../gpu/device';
import { tuneMatmul } from '../kernels/matmul_tuning';
import type { Architecture } from '../model/family';
import { dataHash, type RunFacts } from '../runs/checkpoint';
import { requireSame } from '../runs/same-run';
import { openCacheStorage } from './cache-storage';
import { corpusName, encodeTexts, readTexts } from './corpus';
import { base } from './host';
import { cachedName, type Models, openModels } from './models';
import type { DroppedFiles, LoadingStage, StageUnit, UserCorpus } from './protocol';

export type Stage = (
  stage: LoadingStage,
  detail: string,
  loaded?: number,
  total?: number,
  unit?: StageUnit,
) => void;

/** What a run measures, and notes for the user. */
export type Measured = Omit<RunEvents, 'stage'> & Required<Pick<RunEvents, 'note'>>;

export interface Building {
  config: Config;
  corpus?: UserCorpus;
  files?: DroppedFiles;
  gpu: Gpu;
  signal: AbortSignal;
  stage: Stage;
  events: Measured;
  /** Where the run goes on, and what it was built from before. */
  snapshot?: Snapshot;
  before?: RunFacts;
}

export interface BuiltRun {
  run: Run;
  models: Models;
  student: Architecture;
  facts: RunFacts;
}

/** @throws the signal's reason, if it is aborted; whatever the run's models and texts throw */
export async function buildRun(building: Building): Promise<BuiltRun> {
  const { config, corpus, files = {}, gpu, signal, stage, events, snapshot, before } = building;
  const { note } = events;
  const dtype = dtypeOf(config, gpu);
  // Its compilers work while texts and models arrive here; Run.create waits for it.
  tuneMatmul(gpu, dtype).catch(() => undefined);
  // So does the check of an adapter that is new here.
  const checked = requireRightKernels(gpu, {
    dtype,
    where: navigator.userAgent,
    memory: browserCache(() => {}),
    say: note,
  });
  checked.catch(() => undefined);
  const name = corpusName(config, corpus);
  const onProgress = (loaded: number, total?: number) => stage('corpus', name, loaded, total);
  const texts = await readTexts(config, corpus, { onProgress, signal });
  const models = await openModels(config, gpu, { files, base, signal, stage, note });
  stage('tokenizer', `reading ${name}`);
  const documents = encodeTexts(texts, models, config);
  const student = models.student?.architecture ?? newStudent(config, models.teacherConfig);
  const facts: RunFacts = {
    config,
    student: student.config,
    dtype,
    adapter: gpu.adapter.name,
    engine: models.teacherEngine.name,
    data: await dataHash(documents),
  };
  if (before) requireSame(before, facts, note);
  if (!gpu.adapter.software) stage('compile', 'checking the kernels on this GPU');
  await checked;
  signal.throwIfAborted();
  const run = await Run.create(
    {
      gpu,
      config,
      documents,
      answersAfter: corpus ? undefined : textOf(config).answersAfter,
      ...models,
      signal,
      cache: {
        open: openCacheStorage,
        teacher: cachedName(config, models.teacherEngine, files),
        note,
      },
      events: { ...events, stage },
    },
    snapshot,
  ).finally(() => models.close());
  try {
    signal.throwIfAborted();
    facts.models = await models.identities();
    if (before) requireSame(before, facts, () => {});
  } catch (error) {
    await run.destroy().catch(() => undefined);
    throw error;
  }
  return { run, models, student, facts };
}
