// The teacher's logits of the held-out batches, which every evaluation reads again: computed by the
// first one and kept on the GPU, where they fit. They are the same bits as the teacher's own.

import type { Gpu } from '../../gpu/device';
import {
  bufferOf,
  type PendingProgram,
  type Pool,
  persistentTensor,
  Recorder,
} from '../../gpu/program';
import { copy } from '../../kernels/copy';
import { BYTES } from '../../tensor/dtype';
import { Layout } from '../../tensor/layout';
import { chunksOf, rowsPerChunk } from '../chunks';
import type { Teacher, TeacherSource } from './teacher';

/**
 * Bytes that kept logits may take: a small share of any GPU's memory, and enough for the built-in
 * teachers. A vocabulary of 50,257 needs more for a single batch, and its teacher runs again.
 */
const MOST_BYTES = 2 ** 26;

export interface KeptLogits {
  source: TeacherSource;
  /** Plans its memory; the first batch does so otherwise. */
  prepare(): Promise<unknown>;
  destroy(): void;
}

/**
 * A teacher for evaluations that runs once for each of `batches` different batches of (B, T), and
 * for any others each time.
 * @returns undefined if the logits of so many batches, and of the current one, exceed MOST_BYTES
 */
export function keepLogits(
  gpu: Gpu,
  pool: Pool,
  teacher: Pick<Teacher, 'enqueue' | 'logits'>,
  { B, T, V, batches }: { B: number; T: number; V: number; batches: number },
): KeptLogits | undefined {
  const recorder = new Recorder(gpu, pool);
  const chunks = chunksOf(B * T, rowsPerChunk(gpu, V)).map(({ first, count }) => ({
    first,
    count,
    logits: teacher.logits(recorder, first, count),
  }));
  const { dtype } = chunks[0].logits;
  // Copies have multiples of 4 bytes.
  const bytes = Math.ceil((B * T * V * BYTES[dtype]) / 4) * 4;
  if ((batches + 1) * bytes > Math.min(MOST_BYTES, gpu.limits.buffer)) return undefined;

  const layout = Layout.contiguous([B * T, V]);
  const current = persistentTensor(gpu, 'teacher', 'held-out logits', layout, dtype);
  const rows = (first: number, count: number) => ({
    ...current,
    layout: layout.narrow(0, first, count),
  });
  for (const { first, count, logits } of chunks) copy(recorder, logits, rows(first, count));
  let program: PendingProgram | undefined;
  const prepare = () => {
    program ??= recorder.begin('held-out logits');
    return program.ready;
  };
  const store = gpu.memory.create('teacher', 'kept logits', batches * bytes);
  /** A kept batch's place in the store, by its inputs. */
  const places = new Map<Uint32Array, number>();
  const source: TeacherSource = {
    async enqueue(batch, commands) {
      const known = places.get(batch.inputs);
      if (known !== undefined) {
        commands.encoder.copyBufferToBuffer(store, known * bytes, bufferOf(current), 0, bytes);
        return;
      }
      await teacher.enqueue(batch, commands);
      commands.run(await prepare());
      if (places.size === batches) return;
      const place = places.size;
      commands.encoder.copyBufferToBuffer(bufferOf(current), 0, store, place * bytes, bytes);
      places.set(batch.inputs, place);
    },
    logits: (_, first, count) => rows(first, count),
  };
  return {
    source,
    prepare,
    destroy() {
      program?.destroy();
      gpu.memory.destroy(bufferOf(current));
      gpu.memory.destroy(store);
    },
  };
}
