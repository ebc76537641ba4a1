// What the kernel tests share: both variants of a kernel on either adapter, tensors made of numbers and read back, and the
// comparison with the slow twin.
//
// A software adapter gives a row to one thread, a GPU to 64; so that both are tested everywhere, the test file's device is
// taken once for the one and once for the other. On an adapter without shader-f16 the f16 case proves that it is refused.

import { expect, it } from 'vitest';
import { Gpu } from '../../src/gpu/device';
import { bufferOf, Pool, Recorder, type Tensor } from '../../src/gpu/program';
import { BYTES, type DType, fromHalf, roundToHalf, toHalf } from '../../src/tensor/dtype';
import { Layout } from '../../src/tensor/layout';
import * as reference from '../reference';
import { openTestDevice, takeErrors } from './harness';

export type Lanes = 'one lane' | 'many lanes';
export type Storage = 'f32' | 'f16';

/** Half of the distance between neighbouring f32 (f16) numbers, relative to them: what one rounding may change. */
export const ROUNDING = { f32: 2 ** -24, f16: 2 ** -11 } as const;

const variants = new Map<Lanes, Gpu>();

/** The test file's device as kernels see it that are made for a software adapter (one lane) or for a GPU. */
export async function openVariant(lanes: Lanes): Promise<Gpu> {
  const own = await openTestDevice();
  // The same device and account of memory under another name, for which kernels are made afresh.
  const adapter = { ...own.adapter, software: lanes === 'one lane' };
  const gpu: Gpu = variants.get(lanes) ?? Object.assign(Object.create(Gpu.prototype), own, { adapter });
  variants.set(lanes, gpu);
  return gpu;
}

/** A test for each storage type and number of lanes. Without shader-f16 the f16 body must be refused by the compiler. */
export function testVariants(
  title: string,
  body: (gpu: Gpu, dtype: Storage) => Promise<void>,
  allLanes: readonly Lanes[] = ['one lane', 'many lanes'],
  dtypes: readonly Storage[] = ['f32', 'f16'],
): void {
  for (const dtype of dtypes) {
    for (const lanes of allLanes) {
      it(`${title} (${dtype}, ${lanes})`, async () => {
        const gpu = await openVariant(lanes);
        if (dtype === 'f32' || gpu.adapter.f16) return body(gpu, dtype);
        await expect(body(gpu, dtype)).rejects.toThrow(/does not compile[\s\S]*f16/);
        takeErrors();
      });
    }
  }
}

/** The values as a storage type holds them: what the slow twin should compute with. */
export function stored(values: reference.Numbers, dtype: Storage): Float64Array {
  return Float64Array.from(values, dtype === 'f16' ? roundToHalf : Math.fround);
}

/** A tensor whose storage holds `values`, all of which the layout need not look at. */
export function upload(
  gpu: Gpu,
  label: string,
  values: reference.Numbers,
  layout: Layout | number[],
  dtype: DType = 'f32',
): Tensor {
  const bytes = values.length * BYTES[dtype];
  const buffer = gpu.memory.create('data', label, bytes);
  const from = { f32: Float32Array, i32: Int32Array, u32: Uint32Array };
  const data = dtype === 'f16' ? toHalf(Float32Array.from(values)) : from[dtype].from(values);
  const padded = new Uint8Array(buffer.size);
  padded.set(new Uint8Array(data.buffer));
  gpu.device.queue.writeBuffer(buffer, 0, padded);
  const place = { label, bytes, buffer, offset: 0, purpose: 'data' as const };
  return { layout: Array.isArray(layout) ? Layout.contiguous(layout) : layout, dtype, place };
}

/** A zeroed tensor. */
export const zeros = (gpu: Gpu, label: string, shape: number[], dtype: DType = 'f32') =>
  upload(gpu, label, new Float64Array(Layout.contiguous(shape).numel), shape, dtype);

/** The whole storage, with what the layout does not look at. */
export async function download(gpu: Gpu, tensor: Tensor): Promise<Float32Array> {
  const bytes = await gpu.read(bufferOf(tensor));
  const all = tensor.dtype === 'f16' ? fromHalf(new Uint16Array(bytes)) : new Float32Array(bytes);
  return all.slice(0, tensor.place.bytes / BYTES[tensor.dtype]);
}

/** Records, builds and runs once. */
export async function execute(gpu: Gpu, record: (recorder: Recorder) => void): Promise<void> {
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  record(recorder);
  const program = await recorder.build('test');
  const encoder = gpu.device.createCommandEncoder();
  program.encode(encoder);
  gpu.device.queue.submit([encoder.finish()]);
  program.destroy();
  pool.destroy();
}

/**
 * Fails unless every element is within `tolerance` × the largest magnitude: of what is expected, or of the terms that it is the
 * sum of. A NaN is never close.
 */
export function expectClose(
  actual: reference.Numbers,
  expected: reference.Numbers,
  tolerance: number,
  what = 'largest error',
  terms: reference.Numbers = expected,
): void {
  const largest = Array.from(terms).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(reference.maxAbsError(actual, expected), what).toBeLessThanOrEqual(tolerance * largest);
}
