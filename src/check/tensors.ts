// Plain numbers to tensors, through kernels once, and back: shared by the check of a visitor's GPU
// and the tests.

import type { Gpu } from '../gpu/device';
import { bufferOf, Pool, Recorder, type Tensor } from '../gpu/program';
import type { Struct } from '../gpu/struct';
import { SCALER, STEP } from '../kernels/sources';
import { BYTES, type DType, fromHalf, roundToHalf, toHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';

export type Storage = 'f32' | 'f16';
/** Any flat array of numbers: typed or plain. */
type Numbers = ArrayLike<number>;

/** The values rounded to a storage type, for the reference to compute with. */
export function stored(values: Numbers, dtype: Storage): Float64Array {
  return Float64Array.from(values, dtype === 'f16' ? roundToHalf : Math.fround);
}

/**
 * A tensor whose storage holds `values`; the layout need not reach all of them. It can also be
 * bound as a uniform.
 */
export function upload(
  gpu: Gpu,
  label: string,
  values: Numbers,
  layout: Layout | number[],
  dtype: DType = 'f32',
): Tensor {
  const bytes = values.length * BYTES[dtype];
  const { STORAGE, UNIFORM, COPY_SRC, COPY_DST } = GPUBufferUsage;
  const buffer = gpu.memory.create('data', label, bytes, STORAGE | UNIFORM | COPY_SRC | COPY_DST);
  const from = { f32: Float32Array, i32: Int32Array, u32: Uint32Array };
  const data = dtype === 'f16' ? toHalf(Float32Array.from(values)) : from[dtype].from(values);
  const padded = new Uint8Array(buffer.size);
  padded.set(new Uint8Array(data.buffer));
  gpu.device.queue.writeBuffer(buffer, 0, padded);
  const place = { label, bytes, buffer, offset: 0, purpose: 'data' as const };
  return { layout: Array.isArray(layout) ? Layout.contiguous(layout) : layout, dtype, place };
}

/** The fields of a struct as f32 bits, e.g. { scale: 1024 }; a field that is not named is 0. */
export function structValues(struct: Struct, values: Record<string, number>): Float32Array {
  const zeros = Object.fromEntries(struct.fields.map(({ name }) => [name, 0]));
  return new Float32Array(struct.write({ ...zeros, ...values }));
}

/** What a loss reads beside its tensors, as inputs of `upload`, for a step of `tokens` targets. */
export function lossState({
  temperature = 1,
  alpha = 1,
  scale = 1,
  tokens,
}: {
  temperature?: number;
  alpha?: number;
  scale?: number;
  tokens: number;
}) {
  const inverse_tokens = tokens > 0 ? 1 / tokens : 0;
  return {
    step: {
      values: structValues(STEP, { temperature, alpha, inverse_tokens }),
      layout: [STEP.fields.length],
    },
    scaler: { values: structValues(SCALER, { scale }), layout: [SCALER.fields.length] },
  };
}

/** The whole storage of an f16 or f32 tensor, including what its layout does not reach. */
export async function download(gpu: Gpu, tensor: Tensor): Promise<Float32Array> {
  const bytes = await gpu.read(bufferOf(tensor));
  const all = tensor.dtype === 'f16' ? fromHalf(new Uint16Array(bytes)) : new Float32Array(bytes);
  return all.slice(0, tensor.place.bytes / BYTES[tensor.dtype]);
}

/** Records, builds and runs once. @throws what recording or a kernel's compilation throws */
export async function execute(gpu: Gpu, record: (recorder: Recorder) => void): Promise<void> {
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  record(recorder);
  const program = await recorder.build('check');
  const encoder = gpu.device.createCommandEncoder();
  program.encode(encoder);
  gpu.device.queue.submit([encoder.finish()]);
  program.destroy();
  pool.destroy();
}
