// The best rates of this adapter: bytes per second of a copy, operations per second of a large
// matrix product. Measured once per device, to compare a kernel's rates with.

import { type Gpu, GpuError } from '../../gpu/device';
import { Pool, Recorder } from '../../gpu/program';
import { matmul } from '../../kernels/matmul';
import { tuneMatmul } from '../../kernels/matmul_tuning';
import { Layout } from '../../tensor/layout';
import type { Roofline } from './profile';

/** Long enough to make the overhead around it small. */
const ENOUGH_MILLISECONDS = 50;
/** Products that take at least ENOUGH_MILLISECONDS are timed TRIES times; the best counts. */
const TRIES = 5;
/** Source and destination together exceed the caches of most adapters. */
const COPY_BYTES = 64 * 2 ** 20;
/**
 * Sides of the squares. Each has two to four times the work of the one before, so that a slow
 * adapter does not overshoot ENOUGH_MILLISECONDS by much.
 */
const SIDES = [128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096];
/** Shorter times are dominated by the rounding of timestamps. */
const LEAST_NANOSECONDS = 1e6;

const measured = new WeakMap<Gpu, Promise<Roofline>>();

/**
 * Measures the device's roofline at the first call, in about a second. Frees what it made.
 * @throws GpuError without timestamp-query, or without memory for it
 */
export function rooflineOf(gpu: Gpu): Promise<Roofline> {
  const known = measured.get(gpu);
  if (known) return known;
  const measuring = (async () => ({
    bytesPerSecond: await copyRate(gpu),
    flopsPerSecond: await productRate(gpu),
  }))();
  measured.set(gpu, measuring);
  // A later call may find more memory.
  measuring.catch(() => measured.delete(gpu));
  return measuring;
}

async function copyRate(gpu: Gpu): Promise<number> {
  const bytes = Math.min(COPY_BYTES, gpu.limits.buffer);
  return withRoom(gpu, [bytes, bytes], async ([from, to]) => {
    const copy = async (times: number) => {
      const encoder = gpu.device.createCommandEncoder({ label: 'copy rate' });
      for (let i = 0; i < times; i++) encoder.copyBufferToBuffer(from, 0, to, 0, bytes);
      const started = performance.now();
      gpu.device.queue.submit([encoder.finish()]);
      await gpu.idle();
      return performance.now() - started;
    };
    let times = 1;
    // Warm-up: the first copy touches fresh memory.
    await copy(times);
    while ((await copy(times)) < ENOUGH_MILLISECONDS) times *= 2;
    const tries: number[] = [];
    for (let i = 0; i < TRIES; i++) tries.push(await copy(times));
    return (2 * bytes * times * 1000) / Math.min(...tries);
  });
}

async function productRate(gpu: Gpu): Promise<number> {
  // A run in f16 has tuned the f16 products only.
  await tuneMatmul(gpu, 'f32');
  const rates: number[] = [];
  for (const side of SIDES) {
    const bytes = 4 * side * side;
    if (bytes > gpu.limits.binding) break;
    const long = await withRoom(gpu, [bytes, bytes, bytes], async (buffers) => {
      const layout = Layout.contiguous([side, side]);
      const [a, b, c] = buffers.map((buffer) => ({
        layout,
        dtype: 'f32' as const,
        place: { label: buffer.label, bytes, buffer, offset: 0, purpose: 'metrics' as const },
      }));
      // Not zeros: they would use less power, and a GPU would run faster.
      const values = new Float32Array(side * side);
      for (let i = 0; i < values.length; i++) values[i] = (i % 13) - 6;
      for (const { place } of [a, b]) gpu.device.queue.writeBuffer(place.buffer, 0, values);
      const pool = new Pool(gpu);
      const recorder = new Recorder(gpu, pool);
      matmul(recorder, a, b, c);
      const program = await recorder.build('product rate');
      const once = async () => {
        const times = await program.profile();
        const nanoseconds = times.reduce((sum, time) => sum + time.nanoseconds, 0);
        const flops = times.reduce((sum, time) => sum + time.flops, 0);
        if (nanoseconds >= LEAST_NANOSECONDS) rates.push((flops / nanoseconds) * 1e9);
        return nanoseconds;
      };
      const enough = (await once()) >= ENOUGH_MILLISECONDS * 1e6;
      for (let i = 1; enough && i < TRIES; i++) await once();
      program.destroy();
      pool.destroy();
      return enough;
    });
    if (long) break;
  }
  if (rates.length === 0)
    throw new Error(
      `roofline: a product of side ${SIDES.at(-1)} took less than ${LEAST_NANOSECONDS} ns. ` +
        "The adapter's timestamps may not work.",
    );
  return Math.max(...rates);
}

/**
 * Runs `use` with buffers of these sizes, then frees them.
 * @throws GpuError if they do not fit, which must not fail the paused run
 */
async function withRoom<T>(
  gpu: Gpu,
  sizes: number[],
  use: (buffers: GPUBuffer[]) => Promise<T>,
): Promise<T> {
  gpu.device.pushErrorScope('out-of-memory');
  const buffers = sizes.map((bytes, i) => gpu.memory.create('metrics', `roofline ${i}`, bytes));
  const full = await gpu.answered(gpu.device.popErrorScope());
  try {
    if (full) {
      const megabytes = Math.round(sizes.reduce((a, b) => a + b) / 1e6);
      throw new GpuError(
        'limits',
        `The GPU has no room for another ${megabytes} MB: ${full.message}`,
        'Close other pages that use the GPU, or profile a run of a smaller model.',
      );
    }
    return await use(buffers);
  } finally {
    for (const buffer of buffers) gpu.memory.destroy(buffer);
  }
}
