// Offloading: before a run builds its student, its teacher says once what it thinks of every batch,
// that is written down, and the teacher leaves the GPU. A cache that is there already and is this
// run's makes even that needless.

import type { Config } from '../../config';
import type { Gpu } from '../../gpu/device';
import { Pool } from '../../gpu/program';
import type { TopK } from '../../kernels/topk';
import type { Architecture } from '../../model/family';
import { Arena, fill, planArena, type Weights } from '../../model/parameters';
import { Evaluator } from '../evaluate';
import { needsTeacher, requireEntriesServe } from '../losses';
import type { Write } from '../sample';
import { noSlices } from '../step';
import {
  bytesPerPosition,
  CacheError,
  CacheFile,
  type CacheIdentity,
  type CacheStorage,
  type CacheTold,
} from './cache-file';
import { type AskedBatches, BatchIndex, cachedTeacher, writeEntries } from './cached';
import type { Taught, Teacher } from './teacher';

/** How many of V words a config asks a cache to keep. */
export const keptWords = ({ cache_top_k: k }: Pick<Config, 'cache_top_k'>, V: number): TopK => ({
  V,
  k: k === 0 ? V : Math.min(k, V),
});

/** Throws a CacheError if this run's loss cannot be had from k words and the rest. */
export function requireCacheServes(config: Config, V: number): void {
  const shape = keptWords(config, V);
  if (shape.k === V || !needsTeacher(config.loss)) return;
  requireEntriesServe(config, shape);
  if (config.train_loss_path !== 'labels') throw noSlices(config.train_loss_path, shape);
}

/** Where a run may write its cache. */
export interface CachePlace {
  /** @throws where nothing can be written, for what reason ever */
  open(): Promise<CacheStorage>;
  /** What names the teacher. */
  teacher: string;
  /** Something went another way than was asked for, and the run goes on. */
  note(text: string): void;
}

interface CachingParts {
  gpu: Gpu;
  config: Config;
  dtype: 'f16' | 'f32';
  place: CachePlace;
  batches: AskedBatches;
  student: Architecture;
  /** What the student starts from; asked for a second time when it is built. */
  weights(): Weights | undefined;
  makeTeacher(gpu: Gpu, shape: { B: number; T: number; dtype: 'f16' | 'f32' }): Promise<Teacher>;
  /** The teacher's continuation of the prompt; undefined where the run has none. */
  sample(write: Write): Promise<string | undefined>;
  signal?: AbortSignal;
  /** `loaded` of `total` bytes are written. */
  progress(detail: string, loaded?: number, total?: number): void;
}

export interface OpenCache {
  file: CacheFile;
  index: BatchIndex;
  /** It was there before this run. */
  found: boolean;
}

const UNCACHED = 'The run goes on with the teacher in memory.';

/**
 * The run's cache, found or written. Where it cannot be written the reason is noted, and the run
 * goes on with the teacher in memory: the one that was begun with, if there is one.
 */
export async function openCache(
  parts: CachingParts,
): Promise<OpenCache | { teacher: Teacher } | undefined> {
  const { place, progress } = parts;
  progress('looking for a cache of this run');
  let storage: CacheStorage;
  try {
    storage = await place.open();
  } catch (error) {
    place.note(`The teacher’s cache cannot be opened: ${(error as Error).message}. ${UNCACHED}`);
    return undefined;
  }
  try {
    const opened = await findOrWrite(parts, storage);
    if ('teacher' in opened) await storage.close();
    return opened;
  } catch (error) {
    await storage.close();
    throw error;
  }
}

async function findOrWrite(
  parts: CachingParts,
  storage: CacheStorage,
): Promise<OpenCache | { teacher: Teacher }> {
  const { gpu, config, dtype, student, batches, place, makeTeacher, progress } = parts;
  const { batch_size: B, max_length: T, temperature, prompt, sample_tokens: sampleTokens } = config;
  const index = new BatchIndex(batches);
  const shape = keptWords(config, student.vocabularySize);
  const identity: CacheIdentity = {
    teacher: place.teacher,
    dtype,
    ...shape,
    temperature: shape.k < shape.V ? temperature : 0,
    batchSize: B,
    contextLength: T,
    trainBatches: batches.count,
    heldOutBatches: batches.heldOut.length,
    tokens: index.tokens,
    prompt: sampleTokens > 0 ? prompt : '',
    sampleTokens,
  };
  try {
    return { file: await CacheFile.open(storage, identity), index, found: true };
  } catch (error) {
    if (!(error instanceof CacheError)) throw error;
    if (error.kind !== 'absent') place.note(`${error.message} It is written anew.`);
  }
  progress('starting the teacher');
  const teacher = await makeTeacher(gpu, { B, T, dtype });
  try {
    const file = await CacheFile.create(storage, identity, (file) =>
      fillCache(parts, file, index, teacher),
    );
    await teacher.dispose();
    return { file, index, found: false };
  } catch (error) {
    if (error instanceof CacheError && error.kind === 'full') {
      await storage.clear();
      place.note(`${error.message} ${UNCACHED}`);
      return { teacher };
    }
    await teacher.dispose();
    throw error;
  }
}

async function fillCache(
  parts: CachingParts,
  file: CacheFile,
  index: BatchIndex,
  teacher: Teacher,
): Promise<CacheTold> {
  const { gpu, batches, signal, progress } = parts;
  const { V, k, batchSize: B, contextLength: T } = file.identity;
  const started = performance.now();
  const bytes = bytesPerPosition({ V, k });
  const positions = (batches.count + batches.heldOut.length) * B * T;
  await writeEntries(gpu, teacher, file, batches, {
    signal,
    onBatch: (done) => {
      const said = `${count(done * B * T)} of ${count(positions)} positions, ${count(bytes)} bytes each`;
      progress(said, done * B * T * bytes, positions * bytes);
    },
  });
  const seconds = (performance.now() - started) / 1000;
  progress('comparing what is kept with the whole');
  const sample = await parts.sample(teacher.write);
  return {
    parameters: teacher.parameters,
    sample,
    seconds,
    ...(k < V && (await compared(parts, file, index, teacher))),
  };
}

/**
 * What is lost by keeping k words: KL on the held-out batches before training, both ways. Where no
 * target is valid there is none.
 */
async function compared(
  { gpu, dtype, student, weights, batches }: CachingParts,
  file: CacheFile,
  index: BatchIndex,
  teacher: Teacher,
): Promise<Pick<CacheTold, 'perplexity' | 'kl'>> {
  const { V, k, batchSize: B, contextLength: T } = file.identity;
  const pool = new Pool(gpu);
  const arena = new Arena(
    gpu,
    planArena(student.parameters, gpu.limits.buffer),
    dtype,
    'weights',
    'student, to compare',
  );
  const cached = cachedTeacher(gpu, { V, k }, [B, T], { file, index });
  const evaluate = async (taught: Taught) => {
    const model = student.withWeights(arena);
    // The path that neither copies nor fails: what is compared is the teachers.
    const evaluator = new Evaluator(gpu, pool, model, taught, [B, T], 'strided');
    const record = await evaluator.run([...batches.heldOut], 0).finally(() => evaluator.destroy());
    if (record.firstError !== undefined) throw new Error(record.firstError);
    return record;
  };
  try {
    await fill(gpu, [arena], weights());
    const full = await evaluate(teacher);
    const kept = await evaluate(cached.heldOut);
    if (full.kl === undefined || kept.kl === undefined) return {};
    return { perplexity: full.teacherPerplexity, kl: { full: full.kl, kept: kept.kl } };
  } finally {
    cached.destroy();
    arena.destroy();
    pool.destroy();
  }
}

const count = (value: number) => value.toLocaleString('en');
