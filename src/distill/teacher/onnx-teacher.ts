// A teacher that onnxruntime runs on our device, in submissions of its own, into a buffer of ours.

import type { Gpu } from '../../gpu/device';
import { bufferOf, persistentTensor, type Tensor } from '../../gpu/program';
import { gatherRows } from '../../kernels/aligned';
import { BYTES, fromHalf } from '../../tensor/dtype';
import { Layout } from '../../tensor/layout';
import { generateByLogits, type NextLogits } from '../sample';
import type { OnnxModel } from './onnx-model';
import type { Teacher, TeacherSizes } from './teacher';

/** A teacher of batches of (B, T), from a loaded model. */
export function teacherFromOnnx(
  gpu: Gpu,
  onnx: Pick<OnnxModel, 'dtype' | 'run' | 'dispose'>,
  { vocabularySize: V, parameters }: TeacherSizes & { parameters?: number },
  B: number,
  T: number,
): Teacher {
  const shape = Layout.contiguous([B * T, V]);
  const all = persistentTensor(gpu, 'teacher', 'teacher logits', shape, onnx.dtype);
  const run = (inputs: Uint32Array) =>
    gpu.answered(onnx.run(inputs, inputs.length / T, T, bufferOf(all)));
  const next: NextLogits = async (tokens) => {
    const { inputs, last } = padded(tokens, T);
    await run(inputs);
    return readRow(gpu, all, last * V, V);
  };
  return {
    parameters,
    enqueue: ({ inputs }) => run(inputs),
    logits: (_, first, count) => ({ ...all, layout: all.layout.narrow(0, first, count) }),
    aligned: {
      vocabularySize: V,
      logits(recorder, spans, first, count) {
        const layout = Layout.contiguous([count, V]);
        const rows = recorder.tensor('teacher logits', layout, 'f32', 'logits');
        gatherRows(recorder, { source: all, spans, rows, first });
        return rows;
      },
    },
    generate: generateByLogits(next),
    next,
    async dispose() {
      await onnx.dispose();
      gpu.memory.destroy(bufferOf(all));
    },
  };
}

/**
 * The last T tokens as one row of T, and the index of the last. A causal model does not look at the
 * padding after it.
 */
function padded(
  tokens: Uint32Array,
  T: number,
): { inputs: Uint32Array<ArrayBuffer>; last: number } {
  const window = tokens.slice(-T);
  const inputs = new Uint32Array(T);
  inputs.set(window);
  return { inputs, last: window.length - 1 };
}

/**
 * `count` elements from `first` on, as f32. Copies have multiples of 4 bytes, so a range of f16 may
 * be read a little wider.
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
