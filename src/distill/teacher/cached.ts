// A cached teacher: a batch's entries go from the file to the GPU, and the losses read them in
// place of logits.

import type { Gpu } from '../../gpu/device';
import { bufferOf, persistentTensor, type Tensor } from '../../gpu/program';
import { type Entries, entrySize, expand, type TopK } from '../../kernels/topk';
import { Layout } from '../../tensor/layout';
import type { BatchIndex, Split } from './batch-index';
import { CacheError, type CacheFile } from './cache-file';
import type { TeacherSource } from './teacher';

/** The teacher's side of training and of evaluation, read from a cache. */
export interface CachedTeacher {
  training: TeacherSource;
  heldOut: TeacherSource;
  destroy(): void;
}

/** @throws CacheError if the teacher is a cache that was written for another temperature */
export function requireTemperature(
  teacher: Pick<TeacherSource, 'temperature'> | undefined,
  temperature: number,
): void {
  const cached = teacher?.temperature;
  if (cached === undefined || cached === temperature) return;
  throw new CacheError(
    'refused',
    `Temperature is fixed at ${cached}: the cache’s tail mass was computed at T = ${cached}, ` +
      `not ${temperature}. Use cache_top_k=0 to change it.`,
  );
}

/** A buffer for the entries of one batch: (B·T, entry size) u32. */
export function batchEntries(gpu: Gpu, shape: TopK, B: number, T: number): Tensor {
  const layout = Layout.contiguous([B * T, entrySize(shape)]);
  return persistentTensor(gpu, 'data', 'teacher entries', layout, 'u32');
}

/** Reads batches of (B, T) from `cache`; without one, it only plans the memory. */
export function cachedTeacher(
  gpu: Gpu,
  { V, k }: TopK,
  [B, T]: [number, number],
  cache?: { file: CacheFile; index: BatchIndex },
): CachedTeacher {
  const entries = batchEntries(gpu, { V, k }, B, T);
  const source = (split: Split): TeacherSource => ({
    async enqueue(batch) {
      if (!cache) throw new CacheError('refused', 'A planned cache holds no entries.');
      const data = await cache.file.read(cache.index.place(split, batch));
      gpu.device.queue.writeBuffer(bufferOf(entries), 0, data);
    },
    logits(recorder, first, count) {
      const layout = entries.layout.narrow(0, first, count);
      const rows: Entries = { entries: { ...entries, layout }, V, k };
      if (k < V) return rows;
      const shape = Layout.contiguous([count, V]);
      const logits = recorder.tensor('teacher logits', shape, 'f32', 'logits');
      expand(recorder, rows, logits);
      return logits;
    },
  });
  const [training, heldOut] = [source('training'), source('held-out')];
  const destroy = () => gpu.memory.destroy(bufferOf(entries));
  if (k === V) return { training, heldOut, destroy };
  return {
    training: { ...training, temperature: cache?.file.identity.temperature },
    heldOut: { ...heldOut, topK: { k, teacherPerplexity: cache?.file.summary.perplexity } },
    destroy,
  };
}
