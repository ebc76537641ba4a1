// One run of the command line: planned, built, trained with its records on disk, and its student
// written.

import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Config } from '../config';
import type { Document } from '../data/documents';
import { encodeDocuments } from '../data/split';
import { planMemory } from '../distill/apparatus';
import { takeStudent } from '../distill/export/student-folder';
import { dtypeOf, newStudent, Run, requireContext } from '../distill/run';
import type { Snapshot } from '../distill/trainer';
import type { Gpu } from '../gpu/device';
import { formatLink } from '../link';
import { openCacheStorage } from './cache-storage';
import { CheckpointError, type RunFacts, type readCheckpoint, writeCheckpoint } from './checkpoint';
import type { Places } from './flags';
import { Metrics } from './metrics';
import { BOOK, type OpenModels } from './models';
import { evaluationLine, figure, memoryText, Pace, stepLine } from './progress';
import { writeFolder } from './student-folder';

/** Between evaluations a step is printed this often. */
const LINE_MILLISECONDS = 5000;

export interface TrainParts {
  outputDir: string;
  files: { checkpoint: string; metrics: string; cache: string };
  saved: Awaited<ReturnType<typeof readCheckpoint>> | undefined;
  config: Config;
  places: Places;
  gpu: Gpu;
  models: OpenModels;
  texts: Document[];
  /** Once aborted, the run stops after its step. */
  signal: AbortSignal;
  say(line: string): void;
  onCheckpoint(step: number): void;
}

/**
 * `interrupted`: at this step, with a checkpoint if it is not 0. `failure`: it came to its end, and
 * that is not what was asked for.
 */
export interface TrainResult {
  interrupted?: number;
  failure?: string;
}

export async function train(parts: TrainParts): Promise<TrainResult> {
  const { outputDir, files, saved, config, places, gpu, models, texts, signal, say } = parts;
  const { teacher, tokenizer, source } = models;
  const dtype = dtypeOf(config, gpu);
  requireContext(config, teacher.sizes, models.student?.architecture);
  const student = models.student?.architecture ?? newStudent(config, teacher.sizes.vocabularySize);
  const documents = encodeDocuments(texts, tokenizer);
  const facts: RunFacts = {
    config,
    places,
    student: student.config,
    dtype,
    adapter: gpu.adapter.name,
    data: fingerprint(documents),
  };
  if (saved) checkSame(saved.facts, facts, say);

  const planned = await planMemory({ gpu, config, dtype, student, makeTeacher: teacher.plan });
  const atLeast = teacher.engine === 'onnxruntime' ? 'at least ' : '';
  say(
    `${gpu.adapter.name}, ${dtype === 'f16' ? 'float16' : 'float32'}. GPU memory planned: ${atLeast}${memoryText(planned)}`,
  );

  const { batch_size, max_length, gradient_accumulation, train_steps } = config;
  const pace = new Pace(batch_size * max_length * gradient_accumulation, train_steps);
  const metrics = new Metrics(files.metrics);
  let printed = performance.now();
  let told = false;
  const run = await Run.create(
    {
      gpu,
      config,
      tokenizer,
      documents,
      teacherConfig: teacher.sizes,
      student: models.student,
      makeTeacher: teacher.make,
      signal,
      cache: { open: () => openCacheStorage(files.cache), teacher: source.label, note: say },
      events: {
        note: say,
        stage(stage, detail, loaded) {
          // Counting positions, the cache tells of every batch.
          const counting = stage === 'cache' && loaded !== undefined;
          if (stage === 'evaluate' || (counting && performance.now() - printed < LINE_MILLISECONDS))
            return;
          printed = performance.now();
          say(`${detail[0].toUpperCase()}${detail.slice(1)}`);
        },
        record: (record) => {
          metrics.step(record);
          pace.tick(performance.now());
        },
        evaluation: (record) => {
          metrics.evaluation(record);
          printed = performance.now();
          say(evaluationLine(record, metrics.lastStep, pace.at(record.step)));
          if (record.step === 0) pace.tick(performance.now());
          if (record.firstError && !told) say(`The first failed batch: ${record.firstError}`);
          told ||= record.firstError !== undefined;
        },
      },
    },
    saved?.snapshot,
  );
  const settings = {
    version: 1,
    time: new Date().toISOString(),
    link: `#${formatLink(config)}`,
    config,
    places,
    adapter: gpu.adapter,
    dtype,
    student: student.config,
  };
  if (saved) metrics.resume(saved.snapshot.step, settings);
  else metrics.begin(settings);
  metrics.memory(planned, gpu.memory.totals());
  const first = run.step;
  say(
    `${run.studentParameters.toLocaleString('en-US')} parameters learn from ${source.label} on ` +
      `${run.trainTokens.toLocaleString('en-US')} tokens, ${run.heldOutTokens.toLocaleString('en-US')} held out.` +
      (first > 0 ? ` On from step ${first}.` : ''),
  );

  if (saved) pace.tick(performance.now());
  const keep = async (snapshot: Snapshot) => {
    await writeCheckpoint(files.checkpoint, facts, snapshot);
    parts.onCheckpoint(snapshot.step);
  };
  let kept = run.snapshot;
  while (!run.done && !signal.aborted) {
    await run.advance();
    if (run.snapshot && run.snapshot !== kept) {
      kept = run.snapshot;
      // Before training there is nothing to go on from.
      if (kept.step > 0) await keep(kept);
    }
    const { lastStep } = metrics;
    if (lastStep && performance.now() - printed > LINE_MILLISECONDS) {
      printed = performance.now();
      say(stepLine(lastStep, pace.at(lastStep.step)));
    }
  }
  await run.drain();
  if (!run.done) {
    if (run.step > first) await keep(await run.save());
    return { interrupted: run.step };
  }
  const { data } = places;
  const corpus = {
    name: data.map((path) => basename(path)).join(', ') || BOOK,
    own: data.length > 0,
  };
  const taken = { run, config, tokenizer, corpus, adapter: gpu.adapter };
  const take = () => takeStudent(taken, { dtype: 'float32', story: metrics.story(), signal });
  return finish(outputDir, metrics, take, say);
}

/** Writes the student if there is one, and says whether the run did what was asked. */
async function finish(
  folder: string,
  { lastStep, lastEvaluation }: Metrics,
  take: () => ReturnType<typeof takeStudent>,
  say: TrainParts['say'],
): Promise<TrainResult> {
  const skipped =
    'no step changed the student: each was skipped, for a gradient that is not finite or no valid target';
  if (!lastStep?.appliedTotal) {
    return {
      failure: `${skipped}. Nothing is exported. Use a smaller --student_lr or --model_dtype float32.`,
    };
  }
  const written = await writeFolder(folder, (await take()).files);
  say(`Wrote ${written.join(', ')} to ${folder}.`);
  const sample = lastEvaluation?.sample;
  if (sample)
    say(
      `${sample.prompt} → ${JSON.stringify(sample.student)} (the teacher: ${JSON.stringify(sample.teacher)})`,
    );
  if (!lastEvaluation?.tokens) {
    const { succeeded = 0, tried = 0 } = lastEvaluation ?? {};
    const what = `the last evaluation has no valid token (${succeeded} of ${tried} batches succeeded)`;
    return { failure: `the student is trained, but ${what}. Use --eval_loss_path strided.` };
  }
  const { studentPerplexity, teacherPerplexity, kl, agreement } = lastEvaluation;
  say(
    `Held out: PPL=${figure(studentPerplexity, 2)}, the teacher's ${figure(teacherPerplexity, 2)}, ` +
      `KL=${figure(kl, 4)} nats, the same next token for ${figure(agreement && agreement * 100, 1)}%.`,
  );
  return {};
}

/** A checkpoint goes on only with its own student and data; elsewhere it may, with other bits. */
function checkSame(before: RunFacts, now: RunFacts, say: TrainParts['say']): void {
  if (before.data !== now.data) {
    throw new CheckpointError(
      'The data or its tokenizer changed since the checkpoint. Put them back, or start anew.',
    );
  }
  if (JSON.stringify(before.student) !== JSON.stringify(now.student)) {
    throw new CheckpointError(
      'The student’s sizes changed since the checkpoint. Put its folder back, or start anew.',
    );
  }
  if (before.adapter !== now.adapter || before.dtype !== now.dtype) {
    say(
      `The checkpoint was made on ${before.adapter} in ${before.dtype}. It goes on, with other bits than there.`,
    );
  }
}

function fingerprint(documents: readonly Uint32Array[]): string {
  const hash = createHash('sha256');
  for (const ids of documents) hash.update(`${ids.length} `).update(ids);
  return hash.digest('hex');
}
