// Distils a student from a teacher without a browser: the page's engine and settings, on Node and Dawn.
//
//   npm run distill -- --teacher_model microsoft/DialoGPT-medium --student_model distilgpt2 --model_dtype float16 \
//     --train_steps 500 --student_lr 5e-6 --output_dir out
//
// --help lists all flags. Exit codes: 0 done, 1 failed, 2 bad flags, 130 interrupted.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Config, DEFAULTS } from '../config';
import { decodeCorpus } from '../data/corpus';
import { type Document, readDocuments } from '../data/documents';
import { encodeDocuments } from '../data/split';
import { planMemory } from '../distill/apparatus';
import { dtypeOf, newStudent, Run } from '../distill/run';
import { takeStudent } from '../distill/take';
import { type Gpu, openGpu } from '../gpu/device';
import { formatLink } from '../link';
import { openCacheStorage } from './cache-storage';
import { CheckpointError, type RunFacts, readCheckpoint, writeCheckpoint } from './checkpoint';
import { openDawn } from './dawn';
import { say as explain } from './failure';
import { type Flags, helpText, mayChange, type Places, parseFlags, settle } from './flags';
import { Metrics } from './metrics';
import { type OpenModels, openModels } from './models';
import { evaluationLine, figure, memoryText, Pace, stepLine } from './progress';
import { writeFolder } from './student-folder';

const DONE = 0;
const FAILED = 1;
const BAD_FLAGS = 2;
const INTERRUPTED = 130;

const BOOK = 'public/corpus/moby-dick.txt';
/** Between evaluations a step is printed this often. */
const LINE_MILLISECONDS = 5000;

const say = (line: string) => console.log(line);

/** Flags that name something that is not there, or contradict what is. */
class FlagError extends Error {}

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(INTERRUPTED);
    say('Stopping after this step. Once more stops at once, without a checkpoint.');
    stop.abort(new Error('interrupted'));
  });
}
process.exit(await main(process.argv.slice(2)));

async function main(words: string[]): Promise<number> {
  const flags = parseFlags(words);
  if (flags === 'help') {
    say(helpText());
    return DONE;
  }
  try {
    if ('problems' in flags) throw new FlagError(flags.problems.join('\n'));
    return await distil(flags);
  } catch (error) {
    if (stop.signal.aborted) {
      say('Interrupted before a step was done. What came from the hub is kept.');
      return INTERRUPTED;
    }
    if (error instanceof FlagError || error instanceof CheckpointError) {
      console.error(`${error.message}\nnpm run distill -- --help lists all flags.`);
      return BAD_FLAGS;
    }
    console.error(`distill: ${explain(error)}`);
    return FAILED;
  }
}

async function distil(flags: Flags): Promise<number> {
  const files = {
    checkpoint: join(flags.outputDir, 'checkpoint.bin'),
    metrics: join(flags.outputDir, 'metrics.jsonl'),
    cache: join(flags.outputDir, 'teacher-cache.bin'),
  };
  const saved = flags.resume ? await readCheckpoint(files.checkpoint) : undefined;
  const { config, places } = saved ? continued(flags, saved.facts) : started(flags);
  if (!saved && (existsSync(files.checkpoint) || existsSync(files.metrics))) {
    throw new FlagError(`${flags.outputDir} holds a run. Add --resume to go on with it, or choose another folder.`);
  }
  if (saved && saved.snapshot.step > config.train_steps) {
    throw new FlagError(
      `--train_steps is ${config.train_steps}, and the checkpoint is at ${saved.snapshot.step} already.`,
    );
  }
  const gpu = await openGpu(await openDawn());
  // What befalls the device reaches no call of ours otherwise.
  const broken = new Promise<never>((_, reject) => {
    gpu.onError = reject;
    void gpu.lost.then(({ message, reason }) => reject(new Error(`The GPU was lost: ${message || reason}.`)));
  });
  broken.catch(() => undefined);
  const work = async () => {
    const texts = await readTexts(places);
    const models = await openModels(config, gpu, { ...places, cacheDir: flags.cacheDir, signal: stop.signal, say });
    try {
      return await train({ flags, files, saved, config, places, gpu, models, texts });
    } finally {
      models.close();
    }
  };
  return Promise.race([work(), broken]);
}

function started({ settings, places }: Flags): { config: Config; places: Places } {
  const settled = settle(settings, DEFAULTS);
  if ('problems' in settled) throw new FlagError(settled.problems.join('\n'));
  return { config: settled.config, places };
}

/** The settings of the run that is continued, with what may change. */
function continued(flags: Flags, { config: before, places }: RunFacts): { config: Config; places: Places } {
  const [place] = flags.placesGiven;
  if (place) throw new FlagError(`--${place} is the checkpoint's own in a run that goes on. Leave it away.`);
  const settled = settle(flags.settings, before);
  if ('problems' in settled) throw new FlagError(settled.problems.join('\n'));
  const names = Object.keys(before) as (keyof Config)[];
  const changed = names.filter((name) => settled.config[name] !== before[name] && !mayChange(name));
  if (changed.length > 0) {
    const told = changed.map((name) => `--${name} is ${settled.config[name]}, in the checkpoint ${before[name]}`);
    const may = names.filter(mayChange).join(', ');
    throw new FlagError(`${told.join('; ')}. A run that goes on may change only ${may}.`);
  }
  return { config: settled.config, places };
}

/** The user's documents, or the book as one. */
async function readTexts({ data, reading }: Places): Promise<Document[]> {
  if (data.length === 0) return [[decodeCorpus(BOOK, await readFile(BOOK))]];
  const all: Document[] = [];
  for (const path of data) {
    const { documents, empty } = readDocuments({ name: basename(path), bytes: await readFile(path) }, reading);
    say(`${path}: ${documents.length} documents${empty > 0 ? `, ${empty} empty values left out` : ''}`);
    for (const document of documents) all.push(document);
  }
  return all;
}

interface Parts {
  flags: Flags;
  files: { checkpoint: string; metrics: string; cache: string };
  saved: Awaited<ReturnType<typeof readCheckpoint>> | undefined;
  config: Config;
  places: Places;
  gpu: Gpu;
  models: OpenModels;
  texts: Document[];
}

async function train({ flags, files, saved, config, places, gpu, models, texts }: Parts): Promise<number> {
  const { teacher, tokenizer, source } = models;
  const dtype = dtypeOf(config, gpu);
  const student = models.student?.config ?? newStudent(config, teacher.sizes.vocab_size);
  const documents = encodeDocuments(texts, tokenizer);
  const facts: RunFacts = { config, places, student, dtype, adapter: gpu.adapter.name, data: fingerprint(documents) };
  if (saved) checkSame(saved.facts, facts);

  const planned = await planMemory({ gpu, config, dtype, student, makeTeacher: teacher.plan });
  const atLeast = teacher.engine === 'onnxruntime' ? 'at least ' : '';
  say(
    `${gpu.adapter.name}, ${dtype === 'f16' ? 'float16' : 'float32'}. GPU memory planned: ${atLeast}${memoryText(planned)}`,
  );

  await mkdir(flags.outputDir, { recursive: true });
  const metrics = new Metrics(files.metrics);
  const settings = {
    ...{ version: 1, time: new Date().toISOString(), link: `#${formatLink(config)}`, config, places },
    ...{ adapter: gpu.adapter, dtype, student },
  };
  if (saved) metrics.resume(saved.snapshot.step, settings);
  else metrics.begin(settings);

  const { batch_size, max_length, gradient_accumulation, train_steps } = config;
  const pace = new Pace(batch_size * max_length * gradient_accumulation, train_steps);
  let printed = performance.now();
  let told = false;
  const run = await Run.create(
    {
      ...{ gpu, config, tokenizer, documents, teacherConfig: teacher.sizes, student: models.student },
      ...{ makeTeacher: teacher.make, signal: stop.signal },
      cache: { open: () => openCacheStorage(files.cache), teacher: source.label, note: say },
      events: {
        stage: (stage, detail) => stage !== 'evaluate' && say(`${detail[0].toUpperCase()}${detail.slice(1)}`),
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
  metrics.memory(planned, gpu.memory.totals());
  const first = run.step;
  say(
    `${run.studentParameters.toLocaleString('en-US')} parameters learn from ${source.label} on ` +
      `${run.trainTokens.toLocaleString('en-US')} tokens, ${run.heldOutTokens.toLocaleString('en-US')} held out.` +
      (first > 0 ? ` On from step ${first}.` : ''),
  );

  if (saved) pace.tick(performance.now());
  let kept = run.snapshot;
  while (!run.done && !stop.signal.aborted) {
    await run.advance();
    if (run.snapshot && run.snapshot !== kept) {
      kept = run.snapshot;
      // Before training there is nothing to go on from.
      if (kept.step > 0) await writeCheckpoint(files.checkpoint, facts, kept);
    }
    const { lastStep } = metrics;
    if (lastStep && performance.now() - printed > LINE_MILLISECONDS) {
      printed = performance.now();
      say(stepLine(lastStep, pace.at(lastStep.step)));
    }
  }
  await run.drain();
  if (!run.done) {
    if (run.step > first) await writeCheckpoint(files.checkpoint, facts, await run.save());
    say(
      `Interrupted at step ${run.step} of ${train_steps}. --resume --output_dir ${flags.outputDir} goes on from there.`,
    );
    return INTERRUPTED;
  }

  return finish(flags.outputDir, metrics, () => {
    const { data } = places;
    const corpus = {
      name: data.length > 0 ? data.map((path) => basename(path)).join(', ') : BOOK,
      own: data.length > 0,
    };
    const parts = { run, config, tokenizer, corpus, adapter: gpu.adapter };
    return takeStudent(parts, { dtype: 'float32', story: metrics.story(), signal: stop.signal });
  });
}

/** Writes the student if there is one, and says whether the run did what was asked. */
async function finish(folder: string, metrics: Metrics, take: () => ReturnType<typeof takeStudent>): Promise<number> {
  const { lastStep, lastEvaluation } = metrics;
  if (!lastStep?.appliedTotal) {
    const what = 'no step changed the student: each was skipped, for a gradient that is not finite or no valid target';
    console.error(`distill: ${what}. Nothing is exported. Use a smaller --student_lr or --model_dtype float32.`);
    return FAILED;
  }
  const written = await writeFolder(folder, (await take()).files);
  say(`Wrote ${written.join(', ')} to ${folder}.`);
  const sample = lastEvaluation?.sample;
  if (sample)
    say(`${sample.prompt} → ${JSON.stringify(sample.student)} (the teacher: ${JSON.stringify(sample.teacher)})`);
  if (!lastEvaluation?.tokens) {
    const { succeeded = 0, tried = 0 } = lastEvaluation ?? {};
    const what = `the last evaluation has no valid token (${succeeded} of ${tried} batches succeeded)`;
    console.error(`distill: the student is trained, but ${what}. Use --eval_loss_path strided.`);
    return FAILED;
  }
  const { studentPerplexity, teacherPerplexity, kl, agreement } = lastEvaluation;
  say(
    `Held out: PPL=${figure(studentPerplexity, 2)}, the teacher's ${figure(teacherPerplexity, 2)}, ` +
      `KL=${figure(kl, 4)} nats, the same next token for ${figure(agreement && agreement * 100, 1)}%.`,
  );
  return DONE;
}

/** A checkpoint goes on only with its own student and data; elsewhere it may, with other bits. */
function checkSame(before: RunFacts, now: RunFacts): void {
  if (before.data !== now.data) {
    throw new CheckpointError('The data or its tokenizer changed since the checkpoint. Put them back, or start anew.');
  }
  if (JSON.stringify(before.student) !== JSON.stringify(now.student)) {
    throw new CheckpointError('The student’s sizes changed since the checkpoint. Put its folder back, or start anew.');
  }
  if (before.adapter !== now.adapter || before.dtype !== now.dtype) {
    say(`The checkpoint was made on ${before.adapter} in ${before.dtype}. It goes on, with other bits than there.`);
  }
}

function fingerprint(documents: readonly Uint32Array[]): string {
  const hash = createHash('sha256');
  for (const ids of documents) hash.update(`${ids.length} `).update(ids);
  return hash.digest('hex');
}
