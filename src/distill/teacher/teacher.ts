// Teachers: whatever puts the logits of a batch on the GPU. One interface; onnxruntime or our own
// engine behind it.

import type { CommandBatch } from '../../gpu/command-batch';
import type { Gpu } from '../../gpu/device';
import {
  bufferOf,
  type DispatchTime,
  Pool,
  persistentTensor,
  Recorder,
  type Tensor,
} from '../../gpu/program';
import type { Entries } from '../../kernels/topk';
import type { Architecture } from '../../model/family';
import { Arena, fill, planArena, type Weights } from '../../model/parameters';
import { BYTES, fromHalf } from '../../tensor/dtype';
import { Layout } from '../../tensor/layout';
import { Sampler, type Write, writeByLogits } from '../sample';
import type { TokenBatch } from './batch-index';
import type { OnnxTeacher, TeacherSizes } from './onnx';

/** What losses and evaluations read: a teacher, or its cache (cached.ts). */
export interface TeacherSource {
  /**
   * Enqueues the teacher's work for `batch` (b, T), b ≤ B, ahead of what the caller submits next:
   * in submissions of its own, or at the end of `commands`. Logits of rows beyond b are undefined.
   */
  enqueue(batch: TokenBatch, commands: CommandBatch): Promise<void>;
  /**
   * Logits (count, V), f16 or f32, of the batch enqueued last: its rows from `first` = b · T + t on.
   * Records the dispatches that compute them, so a large vocabulary's logits need not all exist at
   * once. A top-k cache gives the rows' entries instead.
   */
  logits(recorder: Recorder, first: number, count: number): Tensor | Entries;
  /**
   * Times of its dispatches for the batch enqueued last, without the head. Absent if its dispatches
   * are not ours. Changes no result.
   */
  profile?(): Promise<DispatchTime[]>;
  /** The only temperature that a top-k cache serves; undefined if every temperature works. */
  readonly temperature?: number;
  /**
   * Of a top-k cache: tokens per entry, and the teacher's perplexity on the held-out batches, from
   * all logits.
   */
  readonly topK?: { k: number; teacherPerplexity?: number };
}

export interface Teacher extends TeacherSource {
  /** Undefined for an ONNX graph that does not tell. */
  readonly parameters: number | undefined;
  logits(recorder: Recorder, first: number, count: number): Tensor;
  write: Write;
  dispose(): Promise<void>;
}

/** The batches that a teacher is built for, (B, T), and its precision. */
export interface TeacherShape {
  B: number;
  T: number;
  dtype: 'f16' | 'f32';
}

export type MakeTeacher = (gpu: Gpu, shape: TeacherShape) => Promise<Teacher>;

/**
 * A teacher that onnxruntime runs on our device, in submissions of its own, into a buffer of ours.
 */
export function teacherFromOnnx(
  gpu: Gpu,
  onnx: Pick<OnnxTeacher, 'dtype' | 'run' | 'dispose'>,
  { vocabularySize: V, parameters }: TeacherSizes & { parameters?: number },
  B: number,
  T: number,
): Teacher {
  const all = persistentTensor(
    gpu,
    'teacher',
    'teacher logits',
    Layout.contiguous([B * T, V]),
    onnx.dtype,
  );
  const run = (inputs: Uint32Array) => onnx.run(inputs, inputs.length / T, T, bufferOf(all));
  return {
    parameters,
    enqueue: ({ inputs }) => run(inputs),
    logits: (_, first, count) => ({ ...all, layout: all.layout.narrow(0, first, count) }),
    write: writeByLogits(async (tokens) => {
      const { inputs, last } = padded(tokens, T);
      await run(inputs);
      return readRow(gpu, all, last * V, V);
    }),
    async dispose() {
      await onnx.dispose();
      gpu.memory.destroy(bufferOf(all));
    },
  };
}

/**
 * A model that our own kernels run, inside the caller's submission. Without weights it is a plan of
 * one.
 */
export async function teacherFromWeights(
  gpu: Gpu,
  weights: Weights | undefined,
  architecture: Architecture,
  { B, T, dtype }: TeacherShape,
): Promise<Teacher> {
  const arena = new Arena(
    gpu,
    planArena(architecture.parameters, gpu.limits.buffer),
    dtype,
    'teacher',
    'teacher weights',
  );
  try {
    await fill(gpu, [arena], weights);
  } catch (error) {
    // Weights come over the network: a load that breaks off must not keep the GPU's memory.
    arena.destroy();
    throw error;
  }
  const tokens = persistentTensor(
    gpu,
    'teacher',
    'teacher tokens',
    Layout.contiguous([B, T]),
    'u32',
  );
  const pool = new Pool(gpu, 'teacher');
  const recorder = new Recorder(gpu, pool);
  const model = architecture.withWeights(arena);
  const { hidden } = model.forward(recorder, tokens);
  const program = await recorder.build('teacher');
  const sampler = await Sampler.create(gpu, pool, model, T);
  return {
    parameters: arena.plan.parameters,
    async enqueue({ inputs }, commands) {
      gpu.device.queue.writeBuffer(bufferOf(tokens), 0, inputs as Uint32Array<ArrayBuffer>);
      commands.run(program);
    },
    profile: () => program.profile(),
    logits(rows, first, count) {
      const layout = Layout.contiguous([count, architecture.vocabularySize]);
      const logits = rows.tensor('teacher logits', layout, 'f32', 'logits');
      const hiddenRows = { ...hidden, layout: hidden.layout.narrow(0, first, count) };
      model.head(rows, hiddenRows, logits, 'teacher head');
      return logits;
    },
    write: sampler.write,
    async dispose() {
      sampler.destroy();
      program.destroy();
      pool.destroy();
      arena.destroy();
      gpu.memory.destroy(bufferOf(tokens));
    },
  };
}

/**
 * The last T tokens as one row of T, and the index of the last. Padding comes behind, where a
 * causal model does not look.
 */
function padded(
  tokens: Uint32Array,
  T: number,
): { inputs: Uint32Array<ArrayBuffer>; last: number } {
  const seen = tokens.slice(-T);
  const inputs = new Uint32Array(T);
  inputs.set(seen);
  return { inputs, last: seen.length - 1 };
}

/**
 * `count` elements from `first` on, as f32. Copies are of whole words, so an odd range of halves is
 * read a little wider.
 */
async function readRow(
  gpu: Gpu,
  tensor: Tensor,
  first: number,
  count: number,
): Promise<Float32Array> {
  const size = BYTES[tensor.dtype];
  const start = Math.floor((first * size) / 4) * 4;
  const end = Math.ceil(((first + count) * size) / 4) * 4;
  const bytes = await gpu.read(bufferOf(tensor), start, end - start);
  const skip = first - start / size;
  const all = tensor.dtype === 'f16' ? fromHalf(new Uint16Array(bytes)) : new Float32Array(bytes);
  return all.slice(skip, skip + count);
}
