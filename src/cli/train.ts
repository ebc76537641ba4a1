// One run of the command line: plans its memory, builds it, trains with metrics and checkpoints on
// disk, and writes the student.

import { textOf } from '../built-in';
import { requireRightKernels } from '../check/before-run';
import { type Config, tokensPerStep } from '../config';
import type { Document } from '../data/documents';
import { exportStudent } from '../distill/export/student-folder';
import type { StepRecord } from '../distill/records';
import { Run } from '../distill/run';
import { stepFlops } from '../distill/step-flops';
import { inEngine } from '../distill/teacher/folder';
import type { Snapshot } from '../distill/training-state';
import { Doctor } from '../doctor/doctor';
import type { Verdict } from '../doctor/examine';
import { nonFiniteAt } from '../doctor/words';
import type { BlockCache } from '../files/http';
import type { Gpu } from '../gpu/device';
import { formatLink } from '../link';
import { type Checkpoint, dataHash, dropSpare, type RunFacts } from '../runs/checkpoint';
import { type Journal, secondsAt } from '../runs/journal';
import { RunKeeper } from '../runs/keeper';
import { newRunId } from '../runs/names';
import { requireSame } from '../runs/same-run';
import { Stopwatch } from '../runs/stopwatch';
import { type RunStorage, StorageError } from '../runs/storage';
import { paceSentence, twinSentence } from '../twin-worth';
import { openCacheStorage } from './cache-storage';
import { explain } from './failure';
import type { Places } from './flags';
import type { OpenModels } from './models';
import { storyOf, whyUseless } from './outcome';
import { learnedText, planLines, planRun } from './plan';
import {
  evaluationLine,
  expertLines,
  figure,
  learning,
  Pace,
  stepLine,
  verdictLines,
} from './progress';
import { writeFolder } from './student-folder';
import { corpusOf, type OwnTexts } from './texts';

/** How often a step is printed between evaluations. */
const LINE_MILLISECONDS = 5000;

export interface TrainOptions {
  outputDir: string;
  /** Of outputDir. */
  storage: RunStorage;
  cacheFile: string;
  saved: Checkpoint | undefined;
  config: Config;
  places: Places;
  gpu: Gpu;
  models: OpenModels;
  texts: Document[];
  /** Where the texts come from, unless they are the built-in one. */
  own?: OwnTexts;
  /** What a resumed run has reported so far. */
  before?: Journal;
  /** Remembers the adapters whose kernels are right. */
  cache: BlockCache;
  /** Once aborted, the run stops after the current step. */
  signal: AbortSignal;
  say(line: string): void;
  onCheckpoint(step: number): void;
}

/** How a run ended; empty if it did all that was asked. */
export interface TrainResult {
  /** The step at which it was interrupted. */
  interrupted?: number;
  /** Why the result of a finished run is not usable. */
  failure?: string;
}

export async function train(options: TrainOptions): Promise<TrainResult> {
  const { outputDir, storage, saved, config, places, own, gpu, models, signal, say } = options;
  const { teacher, tokenizer, teacherTokenizer, source } = models;
  const { dtype, student, documents, planned } = await planRun(options);
  await requireRightKernels(gpu, {
    dtype,
    where: `Node ${process.version}`,
    memory: options.cache,
    say,
  });
  const facts: RunFacts = {
    config,
    places,
    student: student.config,
    dtype,
    adapter: gpu.adapter.name,
    engine: teacher.engine.name,
    data: await dataHash(documents),
  };
  if (saved) requireSame(saved.facts, facts, say);

  for (const line of planLines(options, planned, dtype)) say(line);

  const pace = new Pace(tokensPerStep(config), config.train_steps);
  let problem: unknown;
  const keeper = new RunKeeper(
    { storage, refresh: async () => {}, makeRoom: () => dropSpare(storage, '') },
    '',
    (why) => {
      problem = why;
      say(why === undefined ? 'The run is kept again, with all its records.' : unkept(why));
    },
  );
  const journal = keeper.report;
  const clock = new Stopwatch(1000 * secondsAt(options.before, saved?.snapshot.step));
  const timed = (record: StepRecord) => ({ ...record, seconds: clock.milliseconds / 1000 });
  let doctor: Doctor | undefined;
  const report = (step: number, verdicts: readonly Verdict[]) => {
    for (const verdict of verdicts) {
      journal.verdict(step, verdict);
      for (const line of verdictLines(verdict)) say(line);
    }
  };
  let printed = performance.now();
  let failureShown = false;
  /** The newest snapshot that is not a checkpoint yet. */
  let unsaved: Snapshot | undefined;
  const run = await Run.create(
    {
      gpu,
      config,
      tokenizer,
      teacherTokenizer,
      documents,
      answersAfter: own ? undefined : textOf(config).answersAfter,
      teacherConfig: teacher.sizes,
      student: models.student,
      makeTeacher: teacher.make,
      signal,
      cache: {
        open: () => openCacheStorage(options.cacheFile),
        teacher: inEngine(source.label, teacher.engine, config),
        note: say,
      },
      events: {
        note: say,
        stage(stage, detail, loaded) {
          // While it is written, the cache reports every batch.
          const counting = stage === 'cache' && loaded !== undefined;
          if (stage === 'evaluate' || (counting && performance.now() - printed < LINE_MILLISECONDS))
            return;
          printed = performance.now();
          say(`${detail[0].toUpperCase()}${detail.slice(1)}`);
        },
        record: (record) => {
          journal.step(timed(record));
          report(record.step, doctor?.step(record) ?? []);
          pace.tick(performance.now());
        },
        sample: (record) => journal.sample(record),
        nonFinite(record) {
          const text = `Step ${record.step}: ${nonFiniteAt(record)}`;
          journal.note({ step: record.step, text });
          say(text);
          report(record.step, doctor?.nonFinite(record) ?? []);
        },
        twin: {
          record: (record) => journal.twinStep(timed(record)),
          evaluation(record) {
            journal.twinEvaluation(record);
            say(
              `Twin, ${config.twin}: PPL=${figure(record.studentPerplexity, 2)}, ` +
                `KL=${figure(record.kl, 4)}`,
            );
          },
        },
        evaluation: (record) => {
          journal.evaluation(record);
          printed = performance.now();
          say(evaluationLine(record, journal.lastStep, pace.at(record.step)));
          for (const line of expertLines(record)) say(line);
          if (record.step === 0) pace.tick(performance.now());
          if (record.firstError && !failureShown) {
            say(`The first failed batch: ${record.firstError}`);
            failureShown = true;
          }
          const { step } = record;
          doctor?.memory(step, total(gpu.memory.totals()));
          report(step, doctor?.evaluation(record) ?? []);
        },
        snapshot(snapshot) {
          unsaved = snapshot;
        },
      },
    },
    saved?.snapshot,
  );
  facts.models = await models.identities();
  if (saved) requireSame(saved.facts, facts, () => {});
  const engine = run.teacherEngine;
  if (engine) say(`Both engines were tried. The teacher runs in ${engine.name}: ${engine.reason}.`);
  const corpus = corpusOf(config, own);
  const settings = {
    id: options.before?.settings?.id ?? newRunId(),
    time: new Date().toISOString(),
    link: `#${formatLink(config)}`,
    config,
    places,
    adapter: gpu.adapter,
    dtype,
    student: student.config,
    engine: facts.engine,
    stepFlops: stepFlops(config, student, run.teacherParameters ?? 0),
    models: facts.models,
    data: { name: corpus.name, own: corpus.own, sha256: facts.data },
  };
  await (saved ? keeper.resume(run.step, settings) : keeper.begin(settings, own));
  // A full disk may have room later. A folder that refuses to be written never will.
  if (problem && !(problem instanceof StorageError)) throw problem;
  options.onCheckpoint(keeper.savedStep);
  journal.memory(planned, gpu.memory.totals());
  doctor = new Doctor(config, {
    dtype: dtype === 'f16' ? 'float16' : 'float32',
    studentParameters: run.studentParameters,
    vocabularySize: run.student.vocabularySize,
    data: run.dataFacts,
    plannedMemory: planned,
  });
  if (options.before) doctor.recall(options.before, run.step);
  report(run.step, doctor.verdicts);
  const first = { step: run.step, applied: journal.lastStep?.appliedTotal ?? 0 };
  say(
    `${learning(run.student)} learn from ${source.label} on ` +
      `${count(run.trainTokens)} tokens${learnedText(run)}, ` +
      `${count(run.heldOutTokens)} held out.` +
      (first.step > 0 ? ` Continuing from step ${first.step}.` : ''),
  );

  clock.start();
  if (saved) pace.tick(performance.now());
  const save = async (snapshot: Snapshot) => {
    await keeper.save(facts, snapshot, clock.milliseconds / 1000);
    options.onCheckpoint(keeper.savedStep);
  };
  while (!run.done && !signal.aborted) {
    await run.advance();
    // Step 0 is before training: nothing to save yet.
    if (unsaved && unsaved.step > 0 && (await keeper.isDue(run.trainedParameters))) {
      void save(unsaved);
      unsaved = undefined;
    }
    const { lastStep } = journal;
    if (lastStep && performance.now() - printed > LINE_MILLISECONDS) {
      printed = performance.now();
      say(stepLine(lastStep, pace.at(lastStep.step)));
    }
  }
  await run.drain();
  await keeper.written();
  if (run.step > keeper.savedStep) await save(await run.save());
  if (run.done && keeper.failing) {
    say('The run is done. Make room to keep it; interrupt to give it up.');
    await keeper.insist(() => signal.aborted);
    options.onCheckpoint(keeper.savedStep);
  }
  if (!run.done || keeper.failing) return { interrupted: run.step };
  const story = storyOf(await journal.read());
  const exported = () =>
    exportStudent({
      run,
      tokenizer,
      corpus,
      adapter: gpu.adapter,
      dtype: 'float32',
      story,
      signal,
    });
  await keeper.close();
  const result = await finish(outputDir, { journal, first }, exported, say);
  const worth = twinSentence(config, journal.lastEvaluation, journal.lastTwinEvaluation);
  if (worth) say(worth);
  const equalTime = paceSentence(config, journal.lastTwinEvaluation?.equalTimePace);
  if (equalTime) say(equalTime);
  say(`Doctor: ${doctor.line}`);
  for (const verdict of doctor.verdicts.slice(1)) say(verdictLines(verdict)[0]);
  return result;
}

/** Writes the student, unless it is of no use, and checks the last evaluation. */
async function finish(
  folder: string,
  { journal, first }: { journal: RunKeeper['report']; first: { step: number; applied: number } },
  take: () => ReturnType<typeof exportStudent>,
  say: TrainOptions['say'],
): Promise<TrainResult> {
  const { lastStep, lastEvaluation } = journal;
  const broken = whyUseless(first, lastStep, lastEvaluation);
  if (broken) return { failure: broken };
  const written = await writeFolder(folder, (await take()).files);
  say(`Wrote ${written.join(', ')} to ${folder}.`);
  const sample = lastEvaluation?.sample;
  if (sample)
    say(
      `${sample.prompt} → ${JSON.stringify(sample.student)} ` +
        `(teacher: ${JSON.stringify(sample.teacher)})`,
    );
  if (!lastEvaluation?.tokens) {
    const { succeeded = 0, tried = 0 } = lastEvaluation ?? {};
    const failure =
      'the student is trained, but the last evaluation has no valid token ' +
      `(${succeeded} of ${tried} batches succeeded). Use --eval_loss_path strided.`;
    return { failure };
  }
  const { studentPerplexity, teacherPerplexity, kl, agreement, answers } = lastEvaluation;
  const compared =
    kl === undefined
      ? '.'
      : ` (teacher ${figure(teacherPerplexity, 2)}), KL=${figure(kl, 4)} nats, same top token in ` +
        `${figure(agreement && agreement * 100, 1)}%.`;
  say(`Held out: PPL=${figure(studentPerplexity, 2)}${compared}`);
  if (answers && answers.tried > 0) {
    say(
      `Answers right: ${answers.studentRight} of ${answers.tried} ` +
        `(teacher ${answers.teacherRight}).`,
    );
  }
  return {};
}

const unkept = (why: unknown) =>
  `The run is not kept at present: ${explain(why)} Training goes on, and each evaluation tries ` +
  'again to keep all of it.';

const total = (memory: Partial<Record<string, number>>) =>
  Object.values(memory).reduce<number>((sum, bytes = 0) => sum + bytes, 0);

const count = (value: number) => value.toLocaleString('en-US');
