// Teachers: whatever puts the logits of a batch on the GPU. One interface; onnxruntime or our own engine behind it.

import type { Gpu } from '../gpu/device';
import { bufferOf, Pool, type Program, persistentTensor, Recorder, type Tensor } from '../gpu/program';
import { matrix } from '../kernels/tensors';
import type { Gpt2Config } from '../model/config';
import { forward, head } from '../model/gpt2';
import { Arena, fill, planArena, type Weights } from '../model/parameters';
import { Layout } from '../tensor/layout';
import type { OnnxTeacher, TeacherSizes } from './teacher-onnx';

export interface Teacher {
  /** Undefined where only the graph knows. */
  readonly parameters: number | undefined;
  /** (B, T, V), f16 or f32: the logits of the batch enqueued last. */
  readonly logits: Tensor;
  /**
   * Puts the work for `inputs` (b, T), b ≤ B, on the queue before whatever the caller submits next: in submissions of its
   * own, or at the end of `encoder`. Rows beyond b are undefined.
   */
  enqueue(inputs: Uint32Array, encoder: GPUCommandEncoder): Promise<void>;
  dispose(): Promise<void>;
}

/** A teacher that onnxruntime runs on our device, in submissions of its own, into a buffer of ours. */
export function teacherFromOnnx(
  gpu: Gpu,
  onnx: OnnxTeacher,
  { vocab_size, parameters }: TeacherSizes & { parameters?: number },
  B: number,
  T: number,
): Teacher {
  const layout = Layout.contiguous([B, T, vocab_size]);
  const logits = persistentTensor(gpu, 'teacher', 'teacher logits', layout, onnx.dtype);
  return {
    parameters,
    logits,
    enqueue: (inputs) => onnx.run(inputs, inputs.length / T, T, bufferOf(logits)),
    async dispose() {
      await onnx.dispose();
      gpu.memory.destroy(bufferOf(logits));
    },
  };
}

/** A GPT-2 that our own kernels run, inside the caller's submission. */
export async function teacherFromWeights(
  gpu: Gpu,
  weights: Weights,
  config: Gpt2Config,
  { B, T, dtype }: { B: number; T: number; dtype: 'f16' | 'f32' },
): Promise<Teacher> {
  const arena = new Arena(gpu, planArena(config), dtype, 'teacher', 'teacher weights');
  await fill(gpu, [arena], weights);
  const tokens = persistentTensor(gpu, 'teacher', 'teacher tokens', Layout.contiguous([B, T]), 'u32');
  const logits = persistentTensor(
    gpu,
    'teacher',
    'teacher logits',
    Layout.contiguous([B, T, config.vocab_size]),
    'f32',
  );
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  const { hidden } = forward(recorder, config, arena, tokens);
  head(recorder, arena, hidden, matrix(logits, B * T, config.vocab_size));
  const program: Program = await recorder.build('teacher');
  return {
    parameters: arena.plan.parameters,
    logits,
    async enqueue(inputs, encoder) {
      gpu.device.queue.writeBuffer(bufferOf(tokens), 0, inputs as Uint32Array<ArrayBuffer>);
      program.encode(encoder);
    },
    async dispose() {
      program.destroy();
      pool.destroy();
      arena.destroy();
      for (const tensor of [tokens, logits]) gpu.memory.destroy(bufferOf(tensor));
    },
  };
}
