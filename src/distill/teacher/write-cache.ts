// Fills a cache: the teacher reads every batch of the run, and the entries of its logits are
// written to the file.

import { CommandBatch } from '../../gpu/command-batch';
import type { Gpu } from '../../gpu/device';
import { bufferOf, Pool, type Program, Recorder } from '../../gpu/program';
import { topK } from '../../kernels/topk';
import { chunksOf, rowsPerChunk } from '../chunks';
import type { RunBatches } from './batch-index';
import type { CacheFile } from './cache-file';
import { batchEntries } from './cached';
import type { Teacher } from './teacher';

/**
 * Writes the entries of all batches. `onBatch` gets the number of batches written. Frees what it
 * made on the GPU.
 * @throws CacheError `full`; the reason of an aborted `signal`
 */
export async function writeEntries(
  gpu: Gpu,
  teacher: Teacher,
  file: CacheFile,
  { count, at, heldOut }: RunBatches,
  { signal, onBatch }: { signal?: AbortSignal; onBatch?: (done: number) => void },
): Promise<void> {
  const { V, k, batchSize: B, contextLength: T } = file.identity;
  const pool = new Pool(gpu);
  const entries = batchEntries(gpu, { V, k }, B, T);
  /** Logits of the batch → entries, their tails at `temperature`. */
  const record = (temperature: number) => {
    const recorder = new Recorder(gpu, pool);
    for (const { first, count: rows } of chunksOf(B * T, rowsPerChunk(gpu, V))) {
      const logits = teacher.logits(recorder, first, rows);
      const layout = entries.layout.narrow(0, first, rows);
      topK(recorder, logits, { entries: { ...entries, layout }, V, k }, { temperature });
    }
    return recorder.build('teacher entries');
  };
  const programs: Program[] = [];
  try {
    const training = await record(k < V ? file.identity.temperature : 1);
    programs.push(training);
    const evaluation = await record(1);
    programs.push(evaluation);
    for (let place = 0; place < count + heldOut.length; place++) {
      signal?.throwIfAborted();
      const batch = place < count ? at(place) : heldOut[place - count];
      const commands = new CommandBatch(gpu, 'teacher entries');
      await teacher.enqueue(batch, commands);
      commands.run(place < count ? training : evaluation);
      await commands.submit();
      await file.write(place, new Uint32Array(await gpu.read(bufferOf(entries))));
      onBatch?.(place + 1);
    }
  } finally {
    for (const program of programs) program.destroy();
    pool.destroy();
    gpu.memory.destroy(bufferOf(entries));
  }
}
