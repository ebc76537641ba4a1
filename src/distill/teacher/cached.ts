// What was kept of a teacher, in its place: a batch's entries go from the file to the GPU, and the
// losses read them there. Which batch is asked for shows in its tokens, so that one that was not
// kept is refused and none is taken for another.

import type { Batch } from '../../data/batches';
import { CommandBatch } from '../../gpu/command-batch';
import type { Gpu } from '../../gpu/device';
import { bufferOf, Pool, persistentTensor, Recorder, type Tensor } from '../../gpu/program';
import { type Entries, entryWords, expand, type TopK, topK } from '../../kernels/topk';
import { Layout } from '../../tensor/layout';
import { chunksOf, rowsPerChunk } from '../chunks';
import { CacheError, type CacheFile } from './cache-file';
import type { Taught, Teacher } from './teacher';

/** The batches that a run will ask for. */
export interface AskedBatches {
  /** Of training, by number; 0 where its loss needs no teacher. */
  count: number;
  at(index: number): Batch;
  heldOut: readonly Batch[];
}

/** 64 bits that differ for other tokens, or the same in another order. */
function fingerprint(tokens: ArrayLike<number>): string {
  let [one, two] = [tokens.length, ~tokens.length];
  for (let i = 0; i < tokens.length; i++) {
    one = Math.imul(one ^ tokens[i], 0x2c1b3c6d);
    one ^= one >>> 15;
    two = Math.imul(two + tokens[i] + 1, 0x297a2d39);
    two ^= two >>> 13;
  }
  return [one, two].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
}

/**
 * Where the file has each batch. Held-out ones are found apart, for their rest is taken at another
 * temperature.
 */
export class BatchIndex {
  readonly #train = new Map<string, number>();
  readonly #heldOut = new Map<string, number>();
  /** Of all tokens. */
  readonly tokens: string;

  constructor({ count, at, heldOut }: AskedBatches) {
    const all: number[] = [];
    const add = (found: Map<string, number>, { inputs }: Batch, index: number) => {
      const key = fingerprint(inputs);
      found.set(key, index);
      all.push(Number.parseInt(key.slice(0, 8), 16), Number.parseInt(key.slice(8), 16));
    };
    for (let index = 0; index < count; index++) add(this.#train, at(index), index);
    for (const [i, batch] of heldOut.entries()) add(this.#heldOut, batch, count + i);
    this.tokens = fingerprint(all);
  }

  /** @throws CacheError if no such batch was announced */
  find(part: 'train' | 'heldOut', inputs: Uint32Array): number {
    const index = (part === 'train' ? this.#train : this.#heldOut).get(fingerprint(inputs));
    if (index !== undefined) return index;
    throw new CacheError(
      'refused',
      'The teacher’s cache has no such batch. Start the run anew, so that it is written again.',
    );
  }
}

/** What training and evaluation read in a teacher's place. */
export interface CachedTeacher {
  training: Taught;
  heldOut: Taught;
  destroy(): void;
}

/** Throws a CacheError unless the teacher, or what was kept of it, serves this temperature. */
export function requireTemperature(
  teacher: Pick<Taught, 'temperature'> | undefined,
  temperature: number,
): void {
  const recorded = teacher?.temperature;
  if (recorded === undefined || recorded === temperature) return;
  throw new CacheError(
    'refused',
    `The temperature stays at ${recorded}: the teacher’s cache has what its left-out words come to at ${recorded}, not at ` +
      `${temperature}. cache_top_k=0 keeps all words and serves every temperature.`,
  );
}

/** Without `from` it is a plan of one. */
export function cachedTeacher(
  gpu: Gpu,
  { V, k }: TopK,
  [B, T]: [number, number],
  from?: { file: CacheFile; index: BatchIndex },
): CachedTeacher {
  const words = entryWords({ V, k });
  const entries = persistentTensor(
    gpu,
    'data',
    'teacher’s words',
    Layout.contiguous([B * T, words]),
    'u32',
  );
  const part = (name: 'train' | 'heldOut'): Taught => ({
    async enqueue(inputs) {
      if (!from) throw new CacheError('refused', 'A planned cache has no words.');
      const batch = await from.file.read(from.index.find(name, inputs));
      gpu.device.queue.writeBuffer(bufferOf(entries), 0, batch);
    },
    logits(recorder, first, count) {
      const own: Entries = {
        entries: { ...entries, layout: entries.layout.narrow(0, first, count) },
        V,
        k,
      };
      if (k < V) return own;
      const logits = recorder.tensor(
        'teacher logits',
        Layout.contiguous([count, V]),
        'f32',
        'logits',
      );
      expand(recorder, own, logits);
      return logits;
    },
  });
  const kept = k < V ? { k, perplexity: from?.file.told.perplexity } : undefined;
  return {
    training: {
      ...part('train'),
      temperature: k < V ? from?.file.identity.temperature : undefined,
    },
    heldOut: { ...part('heldOut'), kept },
    destroy: () => gpu.memory.destroy(bufferOf(entries)),
  };
}

/**
 * Has the teacher say what it thinks of every batch, and writes it down. `onBatch` hears of each.
 * Frees what it made.
 * @throws CacheError `full`; what aborts `signal`
 */
export async function writeEntries(
  gpu: Gpu,
  teacher: Teacher,
  file: CacheFile,
  { count, at, heldOut }: AskedBatches,
  { signal, onBatch }: { signal?: AbortSignal; onBatch?: (done: number) => void },
): Promise<void> {
  const { V, k, batchSize: B, contextLength: T, temperature } = file.identity;
  const words = entryWords({ V, k });
  const pool = new Pool(gpu);
  const entries = persistentTensor(
    gpu,
    'data',
    'teacher’s words',
    Layout.contiguous([B * T, words]),
    'u32',
  );
  const record = (at: number) => {
    const recorder = new Recorder(gpu, pool);
    for (const { first, count: rows } of chunksOf(B * T, rowsPerChunk(gpu, V))) {
      const own: Tensor = { ...entries, layout: entries.layout.narrow(0, first, rows) };
      topK(
        recorder,
        teacher.logits(recorder, first, rows),
        { entries: own, V, k },
        { temperature: at },
      );
    }
    return recorder.build('teacher’s words');
  };
  const programs = [];
  try {
    const training = await record(k < V ? temperature : 1);
    programs.push(training);
    const evaluation = await record(1);
    programs.push(evaluation);
    for (let index = 0; index < count + heldOut.length; index++) {
      signal?.throwIfAborted();
      const { inputs } = index < count ? at(index) : heldOut[index - count];
      const commands = new CommandBatch(gpu, 'teacher’s words');
      await teacher.enqueue(inputs, commands);
      commands.run(index < count ? training : evaluation);
      await commands.submit();
      await file.write(index, new Uint32Array(await gpu.read(bufferOf(entries))));
      onBatch?.(index + 1);
    }
  } finally {
    for (const program of programs) program.destroy();
    pool.destroy();
    gpu.memory.destroy(bufferOf(entries));
  }
}
