// Distils a student from a teacher without a browser: the page's engine and settings, on Node and
// Dawn.
//
// npm run distill -- --teacher_model microsoft/DialoGPT-medium --student_model distilgpt2
// --model_dtype float16 \
//     --train_steps 500 --student_lr 5e-6 --output_dir out
//
// --help lists all flags. Exit codes: 0 done, 1 failed, 2 bad flags, 130 interrupted.

import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Config, DEFAULTS } from '../config';
import { decodeCorpus } from '../data/corpus';
import { type Document, readDocuments } from '../data/documents';
import { openGpu } from '../gpu/device';
import { CheckpointError, type RunFacts, readCheckpoint } from './checkpoint';
import { openDawn } from './dawn';
import { explain } from './failure';
import { applySettings, type Flags, helpText, mayChange, type Places, parseFlags } from './flags';
import { BOOK, openModels } from './models';
import { train } from './train';

const DONE = 0;
const FAILED = 1;
const BAD_FLAGS = 2;
const INTERRUPTED = 130;

/** Flags that name something that is not there, or contradict what is. */
class FlagError extends Error {}

/** The step of the last checkpoint that this process wrote. */
let kept = 0;

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
  if ('problems' in flags) return refuse(flags.problems.join('\n'));
  try {
    return await distil(flags);
  } catch (error) {
    if (error === stop.signal.reason) {
      say('Interrupted before a step was done. What came from the hub is kept.');
      return INTERRUPTED;
    }
    if (error instanceof FlagError || error instanceof CheckpointError)
      return refuse(error.message);
    const on = kept ? ` --resume --output_dir ${flags.outputDir} goes on from step ${kept}.` : '';
    console.error(`distill: ${explain(error)}${on}`);
    return FAILED;
  }
}

function refuse(message: string): number {
  console.error(`${message}\nnpm run distill -- --help lists all flags.`);
  return BAD_FLAGS;
}

async function distil(flags: Flags): Promise<number> {
  const files = {
    checkpoint: join(flags.outputDir, 'checkpoint.bin'),
    metrics: join(flags.outputDir, 'metrics.jsonl'),
    cache: join(flags.outputDir, 'teacher-cache.bin'),
  };
  const saved = flags.resume ? await readCheckpoint(files.checkpoint) : undefined;
  const { config, places } = saved ? continued(flags, saved.facts) : started(flags);
  const there = ['checkpoint.bin', 'model.safetensors'].find((file) =>
    existsSync(join(flags.outputDir, file)),
  );
  if (!saved && there) {
    const on =
      there === 'checkpoint.bin' ? 'Add --resume to go on with its run, or choose' : 'Choose';
    throw new FlagError(
      `--output_dir is ${flags.outputDir}, which has a ${there}. ${on} another folder.`,
    );
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
    void gpu.lost.then(({ message, reason }) =>
      reject(new Error(`The GPU was lost: ${message || reason}.`)),
    );
  });
  broken.catch(() => undefined);
  const work = async () => {
    // Now rather than after a long download: the folder may be one that cannot be made.
    await mkdir(flags.outputDir, { recursive: true });
    const texts = await readTexts(places);
    const models = await openModels(config, gpu, {
      ...places,
      cacheDir: flags.cacheDir,
      signal: stop.signal,
      say,
    });
    try {
      const outputDir = flags.outputDir;
      const done = await train({
        outputDir,
        files,
        saved,
        config,
        places,
        gpu,
        models,
        texts,
        signal: stop.signal,
        say,
        onCheckpoint: (step) => {
          kept = step;
        },
      });
      if (done.interrupted !== undefined) {
        const on =
          done.interrupted > 0 ? ` --resume --output_dir ${outputDir} goes on from there.` : '';
        say(`Interrupted at step ${done.interrupted} of ${config.train_steps}.${on}`);
        return INTERRUPTED;
      }
      if (done.failure) console.error(`distill: ${done.failure}`);
      return done.failure ? FAILED : DONE;
    } finally {
      models.close();
    }
  };
  return Promise.race([work(), broken]);
}

function started({ settings, places }: Flags): { config: Config; places: Places } {
  const settled = applySettings(settings, DEFAULTS);
  if ('problems' in settled) throw new FlagError(settled.problems.join('\n'));
  return { config: settled.config, places };
}

/** The settings of the run that is continued, with what may change. */
function continued(
  flags: Flags,
  { config: before, places }: RunFacts,
): { config: Config; places: Places } {
  const [place] = flags.placeFlags;
  if (place)
    throw new FlagError(`--${place} is the checkpoint's own in a run that goes on. Leave it away.`);
  const settled = applySettings(flags.settings, before);
  if ('problems' in settled) throw new FlagError(settled.problems.join('\n'));
  const names = Object.keys(before) as (keyof Config)[];
  const changed = names.filter((name) => settled.config[name] !== before[name] && !mayChange(name));
  if (changed.length > 0) {
    const told = changed.map(
      (name) => `--${name} is ${settled.config[name]}, in the checkpoint ${before[name]}`,
    );
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
    const { documents, empty } = readDocuments(
      { name: basename(path), bytes: await readFile(path) },
      reading,
    );
    say(
      `${path}: ${documents.length} documents${empty > 0 ? `, ${empty} empty values left out` : ''}`,
    );
    for (const document of documents) all.push(document);
  }
  return all;
}

function say(line: string): void {
  console.log(line);
}
