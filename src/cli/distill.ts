// Distils a student from a teacher without a browser: the page's engine and settings, on Node and
// Dawn.
//
//   npm run distill -- --teacher_model microsoft/DialoGPT-medium --student_model distilgpt2 \
//     --model_dtype float16 --train_steps 500 --student_lr 5e-6 --output_dir out
//
// --help lists all flags. Exit codes: 0 done, 1 failed, 2 invalid flags, 130 interrupted.

import { join } from 'node:path';
import { type Config, DEFAULTS } from '../config';
import { openGpu } from '../gpu/device';
import { CheckpointError, checkpointsIn, type RunFacts, readNewest } from '../runs/checkpoint';
import { damageOf, JOURNAL, type Journal, parseJournal } from '../runs/journal';
import { MemoryStorage } from '../runs/memory-storage';
import type { RunStorage } from '../runs/storage';
import { compareRuns } from './compare-runs';
import { openDawn } from './dawn';
import { diskCache } from './disk-cache';
import { DiskStorage } from './disk-storage';
import { makeFolder } from './durable';
import { explain } from './failure';
import { applySettings, type Flags, helpText, mayChange, type Places, parseFlags } from './flags';
import { CACHE, openModels } from './models';
import { dryRun } from './plan';
import { takeRecipe } from './recipe';
import { packFile, unpackFile } from './run-file';
import { runSweep, sweepRuns } from './sweep';
import { openTexts, readDocumentsOf } from './texts';
import { train } from './train';

const DONE = 0;
const FAILED = 1;
const BAD_FLAGS = 2;
const INTERRUPTED = 130;

/** Flags that are valid by themselves but do not fit the output folder or its checkpoint. */
class FlagError extends Error {}

const CHOOSE = 'Choose another folder.';

/** What to do about a checkpoint that does not serve. */
const HINTS: Record<CheckpointError['kind'], string> = {
  none: 'Start without --resume.',
  damaged: 'Start without --resume, in another folder.',
  newer: '',
  misfit: '',
};

/** The step of the last checkpoint that this process wrote. */
let checkpointStep = 0;

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(INTERRUPTED);
    say('Stopping after this step. Interrupt again to stop at once, without a checkpoint.');
    stop.abort(new Error('interrupted'));
  });
}
process.exit(await main(process.argv.slice(2)));

async function main(args: string[]): Promise<number> {
  const flags = parseFlags(args);
  if (flags === 'help') {
    say(helpText());
    return DONE;
  }
  if ('problems' in flags) return refuse(flags.problems.join('\n'));
  if (flags.sweep.length > 0) return sweep(flags);
  return flags.imports.length > 0 ? compare(flags) : attempt(flags);
}

async function sweep(flags: Flags): Promise<number> {
  const base = applySettings(flags.settings, DEFAULTS);
  const plan = 'problems' in base ? base : sweepRuns(flags, base.config);
  if ('problems' in plan) return refuse(plan.problems.join('\n'));
  return runSweep(plan, attempt, { interrupted: INTERRUPTED, say });
}

/** Prints the table of runs that are done, and packs one of them. */
async function compare({ imports, runFile }: Flags): Promise<number> {
  try {
    for (const line of await compareRuns(imports)) say(line);
    if (runFile) {
      await packFile(new DiskStorage(imports[0]), runFile);
      say(`Wrote the run to ${runFile}.`);
    }
    return DONE;
  } catch (error) {
    if (error instanceof CheckpointError) return refuse(`--import: ${error.message}`);
    console.error(`distill: ${explain(error)}`);
    return FAILED;
  }
}

/** A run, to its exit code. */
async function attempt(flags: Flags): Promise<number> {
  checkpointStep = 0;
  try {
    return await distil(flags);
  } catch (error) {
    if (error === stop.signal.reason) {
      say('Interrupted before the first step. Downloaded files are kept.');
      return INTERRUPTED;
    }
    if (error instanceof FlagError) return refuse(error.message);
    if (error instanceof CheckpointError)
      return refuse(`--output_dir ${flags.outputDir}: ${error.message} ${HINTS[error.kind]}`);
    const hint = checkpointStep > 0 ? ` ${resumeHint(flags, checkpointStep)}` : '';
    console.error(`distill: ${explain(error)}${hint}`);
    return FAILED;
  }
}

function refuse(message: string): number {
  console.error(`${message}\nnpm run distill -- --help lists all flags.`);
  return BAD_FLAGS;
}

async function distil(flags: Flags): Promise<number> {
  const { resumeFile, outputDir } = flags;
  // A dry run writes nothing, and a recipe goes to a folder of its own.
  const trains = !flags.dryRun && flags.recipe === undefined;
  const storage = !trains && resumeFile ? new MemoryStorage() : new DiskStorage(flags.outputDir);
  if (trains && (!flags.resume || resumeFile)) await requireRoom(storage, flags);
  if (flags.recipe !== undefined) await requireEmpty(flags.recipe);
  if (resumeFile) {
    await unpackFile(resumeFile, storage);
    if (trains) say(`Unpacked ${resumeFile} into ${outputDir}.`);
  }
  const saved = flags.resume ? await readNewest(storage, '', say) : undefined;
  const { config, places } = saved ? resumedRun(flags, saved.facts) : newRun(flags);
  if (saved && saved.snapshot.step > config.train_steps) {
    throw new FlagError(
      `--train_steps is ${config.train_steps}, but the checkpoint is at step ` +
        `${saved.snapshot.step}. Give more steps.`,
    );
  }
  const before = saved && (await recordsOf(storage));
  const damage = before && damageOf(before);
  if (damage) say(damage);
  const gpu = await openGpu(await openDawn());
  // Device errors and loss that no pending call reports.
  const deviceFailure = new Promise<never>((_, reject) => {
    gpu.onError = reject;
    void gpu.lost.then(({ message, reason }) =>
      reject(new Error(`The GPU was lost: ${message || reason}.`)),
    );
  });
  deviceFailure.catch(() => undefined);
  const run = async () => {
    // Fails now, rather than after a long download, if the folder cannot be created.
    if (trains) await makeFolder(outputDir);
    const own = await openTexts(places, storage, before?.settings?.texts);
    if (before?.settings?.data?.own && !own) {
      const { name } = before.settings.data;
      throw new FlagError(`The run reads ${name}, which it has not kept. Add --data FILE.`);
    }
    const texts = await readDocumentsOf(config, own, say);
    const models = await openModels(config, gpu, {
      ...places,
      cacheDir: flags.cacheDir,
      signal: stop.signal,
      say,
    });
    try {
      if (flags.dryRun) {
        await dryRun({ config, gpu, models, texts }, say);
        return DONE;
      }
      if (flags.recipe !== undefined) {
        const written = { config, gpu, models, texts, own, saved };
        say(await takeRecipe(flags.recipe, written));
        return DONE;
      }
      const done = await train({
        outputDir,
        storage,
        cacheFile: join(outputDir, 'teacher-cache.bin'),
        saved,
        config,
        places,
        gpu,
        models,
        texts,
        own,
        before,
        cache: diskCache(flags.cacheDir ?? CACHE, () => {}),
        signal: stop.signal,
        say,
        onCheckpoint: (step) => {
          checkpointStep = step;
        },
      });
      if (flags.runFile && checkpointStep > 0) {
        await packFile(storage, flags.runFile);
        say(`Wrote the run to ${flags.runFile}.`);
      }
      if (done.interrupted !== undefined) {
        const hint = checkpointStep > 0 ? ` ${resumeHint(flags, checkpointStep)}` : '';
        say(`Interrupted at step ${done.interrupted} of ${config.train_steps}.${hint}`);
        return INTERRUPTED;
      }
      if (done.failure) console.error(`distill: ${done.failure}`);
      return done.failure ? FAILED : DONE;
    } finally {
      models.close();
    }
  };
  // A sweep opens a device for each run.
  return Promise.race([run(), deviceFailure]).finally(() => gpu.device.destroy());
}

/** What was reported up to the checkpoint. @throws CheckpointError if only half a run is there */
async function recordsOf(storage: RunStorage): Promise<Journal> {
  const bytes = await storage.read(JOURNAL);
  if (bytes) return parseJournal(new TextDecoder().decode(bytes));
  const why = 'It was removed, or unpacking the run was interrupted.';
  throw new CheckpointError('damaged', `There is a checkpoint but no ${JOURNAL}. ${why}`);
}

/** @throws FlagError if the folder has a run or a student already */
async function requireRoom(storage: RunStorage, { outputDir, resumeFile }: Flags): Promise<void> {
  const names = (await storage.list('')).map(({ name }) => name);
  const records = resumeFile && names.find((name) => name === JOURNAL);
  // A checkpoint without records was left by unpacking that was interrupted.
  const [checkpoint] = resumeFile && !records ? [] : await checkpointsIn(storage, '');
  const existing =
    checkpoint?.name ?? records ?? names.find((name) => name === 'model.safetensors');
  if (!existing) return;
  const how = resumeFile ? `Use --resume ${outputDir}` : 'Add --resume';
  throw new FlagError(
    `--output_dir is ${outputDir}, which has a ${existing} already. ` +
      (checkpoint ? `${how} to continue its run, or choose another folder.` : CHOOSE),
  );
}

/** @throws FlagError if the recipe's folder has anything already */
async function requireEmpty(recipe: string): Promise<void> {
  const [entry] = await new DiskStorage(recipe).list('');
  if (entry) throw new FlagError(`--recipe is ${recipe}, which has a ${entry.name}. ${CHOOSE}`);
}

function resumeHint({ outputDir }: Flags, step: number): string {
  return `Use --resume --output_dir ${outputDir} to continue from step ${step}.`;
}

function newRun({ settings, places }: Flags): { config: Config; places: Places } {
  const result = applySettings(settings, DEFAULTS);
  if ('problems' in result) throw new FlagError(result.problems.join('\n'));
  return { config: result.config, places };
}

/** The checkpoint's settings, with those changed that a resumed run may change. */
function resumedRun(
  flags: Flags,
  { config: before, places: saved }: RunFacts,
): { config: Config; places: Places } {
  // This program wrote them, unless the run began on the page, which has files but no paths.
  const places = (saved as Places | undefined) ?? flags.places;
  const [place] = flags.placeFlags;
  if (place && saved)
    throw new FlagError(`--${place} cannot change in a resumed run. Leave it out.`);
  const result = applySettings(flags.settings, { ...DEFAULTS, ...before });
  if ('problems' in result) throw new FlagError(result.problems.join('\n'));
  const { config } = result;
  const names = Object.keys(before) as (keyof Config)[];
  const changed = names.filter((name) => config[name] !== before[name] && !mayChange(name));
  if (changed.length > 0) {
    const differences = changed.map(
      (name) => `--${name} is ${config[name]}, but ${before[name]} in the checkpoint`,
    );
    const may = names.filter(mayChange).join(', ');
    throw new FlagError(`${differences.join('; ')}. A resumed run may change only ${may}.`);
  }
  return { config, places };
}

function say(line: string): void {
  console.log(line);
}
