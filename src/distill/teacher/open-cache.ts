// Offloading: before a run builds its student, the teacher reads every batch once, its top logits
// go to a file, and the teacher leaves the GPU. If the run's cache already exists, no teacher is
// needed.

import type { Config } from '../../config';
import type { Gpu } from '../../gpu/device';
import { Pool } from '../../gpu/program';
import type { TopK } from '../../kernels/topk';
import type { Architecture } from '../../model/family';
import { Arena, fill, planArena, type Weights } from '../../model/parameters';
import { Evaluator } from '../evaluate';
import { slicedCacheError } from '../loss-paths';
import { needsTeacher, requireEntriesServe } from '../losses';
import type { Generate } from '../sample';
import { BatchIndex, type RunBatches } from './batch-index';
import {
  bytesPerPosition,
  CacheError,
  CacheFile,
  type CacheIdentity,
  type CacheStorage,
  type CacheSummary,
} from './cache-file';
import { cachedTeacher } from './cached';
import { type MakeTeacher, narrowed, type Teacher, type TeacherSource } from './teacher';
import { writeEntries } from './write-cache';

/** The entries that a config asks for; cache_top_k=0 keeps all V tokens. */
export const cacheShape = ({ cache_top_k: k }: Pick<Config, 'cache_top_k'>, V: number): TopK => ({
  V,
  k: k === 0 ? V : Math.min(k, V),
});

/** @throws CacheError if this run's loss needs more than k logits and their tail */
export function requireCacheServes(config: Config, V: number): void {
  const shape = cacheShape(config, V);
  if (shape.k === V || !needsTeacher(config.loss)) return;
  requireEntriesServe(config, shape);
  if (config.train_loss_path !== 'labels') throw slicedCacheError(config.train_loss_path, shape);
}

/** Where a run may write its cache. */
export interface CachePlace {
  /** @throws if the storage is not available */
  open(): Promise<CacheStorage>;
  /** Name of the teacher, with its revision. */
  teacher: string;
  /** A message for the user about a run that goes on differently than configured. */
  note(text: string): void;
}

interface OpenCacheOptions {
  gpu: Gpu;
  config: Config;
  dtype: 'f16' | 'f32';
  place: CachePlace;
  batches: RunBatches;
  student: Architecture;
  /** The student's initial weights; called again when the student is built. */
  weights(): Weights | undefined;
  makeTeacher: MakeTeacher;
  /** The teacher's continuation of the prompt; undefined for a run that samples nothing. */
  sample(generate: Generate): Promise<string | undefined>;
  signal?: AbortSignal;
  /** `loaded` of `total` bytes are written. */
  progress(detail: string, loaded?: number, total?: number): void;
}

export interface OpenCache {
  file: CacheFile;
  index: BatchIndex;
  /** The cache existed before this run. */
  found: boolean;
}

const UNCACHED = 'The run continues with the teacher in memory.';

/**
 * Finds or writes the run's cache. Where it cannot be written, the reason is noted and the run
 * continues with the teacher in memory: the one returned, or undefined if none was started.
 */
export async function openCache(
  options: OpenCacheOptions,
): Promise<OpenCache | { teacher: Teacher } | undefined> {
  const { place, progress } = options;
  progress('looking for this run’s cache');
  let storage: CacheStorage;
  try {
    storage = await place.open();
  } catch (error) {
    place.note(`The teacher’s cache cannot be opened: ${(error as Error).message}. ${UNCACHED}`);
    return undefined;
  }
  try {
    const opened = await findOrWrite(options, storage);
    if ('teacher' in opened) await storage.close();
    return opened;
  } catch (error) {
    await storage.close();
    throw error;
  }
}

async function findOrWrite(
  options: OpenCacheOptions,
  storage: CacheStorage,
): Promise<OpenCache | { teacher: Teacher }> {
  const { gpu, config, dtype, student, batches, place, makeTeacher, progress } = options;
  const { batch_size: B, max_length: T, temperature, prompt, sample_tokens: sampleTokens } = config;
  const index = new BatchIndex(batches);
  const { V, k } = cacheShape(config, student.vocabularySize);
  const identity: CacheIdentity = {
    teacher: place.teacher,
    dtype,
    V,
    k,
    temperature: k < V ? temperature : 0,
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
    if (error.kind !== 'absent') place.note(`${error.message} The run writes a new one.`);
  }
  progress('starting the teacher');
  const shape = { B, T, dtype, masked: config.packing === 'masked' };
  const teacher = narrowed(await makeTeacher(gpu, shape), student.vocabularySize);
  try {
    const file = await CacheFile.create(storage, identity, (file) =>
      fillCache(options, file, index, teacher),
    );
    await teacher.dispose();
    return { file, index, found: false };
  } catch (error) {
    if (error instanceof CacheError && error.kind === 'full') {
      // What cannot be written may not be cleared either.
      await storage.clear().catch(() => undefined);
      place.note(`${error.message} ${UNCACHED}`);
      return { teacher };
    }
    await teacher.dispose();
    throw error;
  }
}

async function fillCache(
  options: OpenCacheOptions,
  file: CacheFile,
  index: BatchIndex,
  teacher: Teacher,
): Promise<CacheSummary> {
  const { gpu, batches, signal, progress } = options;
  const { V, k, batchSize: B, contextLength: T } = file.identity;
  const started = performance.now();
  const bytes = bytesPerPosition({ V, k });
  const positions = (batches.count + batches.heldOut.length) * B * T;
  await writeEntries(gpu, teacher, file, batches, {
    signal,
    onBatch: (done) => {
      const written = `${count(done * B * T)} of ${count(positions)} positions`;
      progress(`${written}, ${count(bytes)} bytes each`, done * B * T * bytes, positions * bytes);
    },
  });
  const seconds = (performance.now() - started) / 1000;
  progress('comparing the cache with the full logits');
  const sample = await options.sample(teacher.generate);
  return {
    parameters: teacher.parameters,
    sample,
    seconds,
    ...(k < V && (await compareWithFull(options, file, index, teacher))),
  };
}

/**
 * What keeping k tokens loses: KL on the held-out batches before training, from all logits and from
 * the cache. Empty if no target is valid.
 */
async function compareWithFull(
  { gpu, config, dtype, student, weights, batches }: OpenCacheOptions,
  file: CacheFile,
  index: BatchIndex,
  teacher: Teacher,
): Promise<Pick<CacheSummary, 'perplexity' | 'kl'>> {
  const { V, k, batchSize: B, contextLength: T } = file.identity;
  const pool = new Pool(gpu);
  const plan = planArena(student.parameters, gpu.limits.buffer);
  const arena = new Arena(gpu, plan, dtype, 'weights', 'student, to compare');
  const cached = cachedTeacher(gpu, { V, k }, [B, T], { file, index });
  const evaluate = async (source: TeacherSource) => {
    const model = student.withWeights(arena);
    // The path that neither copies nor fails: this compares teachers, not paths.
    const masked = config.packing === 'masked';
    const evaluator = new Evaluator(gpu, pool, model, source, [B, T], 'strided', { masked });
    const record = await evaluator.run([...batches.heldOut], 0).finally(() => evaluator.destroy());
    if (record.firstError !== undefined) throw new Error(record.firstError);
    return record;
  };
  try {
    await fill(gpu, [arena], weights());
    const full = await evaluate(teacher);
    const topK = await evaluate(cached.heldOut);
    if (full.kl === undefined || topK.kl === undefined) return {};
    return { perplexity: full.teacherPerplexity, kl: { full: full.kl, kept: topK.kl } };
  } finally {
    cached.destroy();
    arena.destroy();
    pool.destroy();
  }
}

const count = (value: number) => value.toLocaleString('en');
