// Tensors made of plain numbers, run through kernels once and read back: what the checks of a
// visitor's GPU and the tests share.

import type { Gpu } from '../gpu/device';
import { bufferOf, Pool, Recorder, type Tensor } from '../gpu/program';
import { BYTES, type DType, fromHalf, roundToHalf, toHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';

export type Storage = 'f32' | 'f16';
/** Any flat array of numbers: typed or plain. */
type Numbers = ArrayLike<number>;

/** The values as a storage type holds them: what the slow twin should compute with. */
export function stored(values: Numbers, dtype: Storage): Float64Array {
  return Float64Array.from(values, dtype === 'f16' ? roundToHalf : Math.fround);
}

/**
 * A tensor whose storage holds `values`, all of which the layout need not look at. It can be bound
 * as a uniform, too.
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

/** The whole storage of an f16 or f32 tensor, with what the layout does not look at. */
export async function download(gpu: Gpu, tensor: Tensor): Promise<Float32Array> {
  const bytes = await gpu.read(bufferOf(tensor));
  const all = tensor.dtype === 'f16' ? fromHalf(new Uint16Array(bytes)) : new Float32Array(bytes);
  return all.slice(0, tensor.place.bytes / BYTES[tensor.dtype]);
}

/**
 * Records at once, then builds and runs once. @throws what recording or a kernel's compilation
 * throws.
 */
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
