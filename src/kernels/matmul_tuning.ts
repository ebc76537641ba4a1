// At start-up: every way to multiply is held against the plain one on the adapter at hand, and
// timed; matmul() then takes the fastest of those that are right.

import type { Gpu } from '../gpu/device';
import type { Storage } from '../gpu/kernel';
import { bufferOf, Pool, persistentTensor, Recorder, type Tensor } from '../gpu/program';
import { toHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import { matmul } from './matmul';
import { isMeasured, setSpeeds, type Way, waysOf } from './matmul_variants';
import { transposed } from './tensors';

/** What is known of a way after the start-up. */
export interface WayReport {
  name: string;
  /**
   * Floating-point operations in a second, 2·M·N·K of them in a product; 0 for a way that is not
   * used.
   */
  flops: number;
  /** Why it is not used. */
  fault?: string;
}

type Sizes = readonly [M: number, N: number, K: number];
/**
 * What is timed: products large enough to fill the adapter, and enough of them that their
 * submission counts for little.
 */
interface Timed {
  sizes: Sizes;
  products: number;
}
const TIMED: Record<'software' | 'gpu', Timed> = {
  software: { sizes: [128, 512, 256], products: 1 },
  gpu: { sizes: [2048, 2048, 256], products: 8 },
};
/**
 * What is checked fills no workgroup, subgroup or strip evenly, and lies in fours, as one of the
 * ways wants it.
 */
const CHECKED: Sizes = [148, 140, 44];
/** The best of so many is what a way can do: other work on a machine only adds time. */
const REPEATS = 3;

/**
 * Checks and times this adapter's ways for products of `dtype`, once for each device. Takes some
 * tenths of a second, most of it compilation. A way that is wrong or does not run is never used.
 */
export async function tuneMatmul(
  gpu: Gpu,
  dtype: Storage,
  work: Timed = TIMED[gpu.adapter.software ? 'software' : 'gpu'],
): Promise<WayReport[]> {
  const [plain, ...others] = waysOf(gpu);
  if (others.length === 0 || isMeasured(gpu, dtype)) return [];
  const truth = await checkedProducts(gpu, plain, dtype);
  const faults = new Map<Way, string>();
  for (const way of others) {
    const fault = await faultOf(gpu, way, dtype, truth);
    if (fault) faults.set(way, fault);
  }
  const right = [plain, ...others].filter((way) => !faults.has(way));
  const seconds = await timed(gpu, right, dtype, work);
  const [M, N, K] = work.sizes;
  const reports = [plain, ...others].map((way) => {
    const flops = faults.has(way) ? 0 : (2 * M * N * K) / seconds[right.indexOf(way)];
    return { name: way.name, flops, fault: faults.get(way) };
  });
  setSpeeds(gpu, dtype, new Map(reports.map(({ name, flops }) => [name, flops])));
  return reports;
}

/**
 * Why a way is not to be used: it does not run, or its sums differ from the plain way's by more
 * than another order would make them.
 */
async function faultOf(
  gpu: Gpu,
  way: Way,
  dtype: Storage,
  truth: Float32Array[],
): Promise<string | undefined> {
  try {
    const found = await checkedProducts(gpu, way, dtype);
    const errors = found.map((sums, i) => sums.map((sum, at) => Math.abs(sum - truth[i][at])));
    // A NaN anywhere makes this a NaN, which no comparison lets pass.
    const error = Math.max(...errors.map((all) => Math.max(...all)));
    // Sums of K products of numbers below 1, of which each may be rounded by half of 2^-23 of the
    // sum so far, once here and once there.
    const tolerance = CHECKED[2] ** 2 * 2 ** -23;
    return error <= tolerance
      ? undefined
      : `Its sums are off by ${error}; ${tolerance} is allowed.`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** x · w, dy · wᵀ and c + xᵀ · dy, in f32. */
async function checkedProducts(gpu: Gpu, way: Way, dtype: Storage): Promise<Float32Array[]> {
  const [M, N, K] = CHECKED;
  const tensors = {
    a: made(gpu, [M, K], dtype),
    across: made(gpu, [K, M], dtype),
    b: made(gpu, [K, N], dtype),
    turned: made(gpu, [N, K], dtype),
    c: made(gpu, [M, N], 'f32'),
    d: made(gpu, [M, N], 'f32'),
    e: made(gpu, [M, N], 'f32'),
  };
  const { a, across, b, turned, c, d, e } = tensors;
  try {
    await run(gpu, (recorder) => {
      matmul(recorder, a, b, c, { way });
      matmul(recorder, a, transposed(turned), d, { way });
      matmul(recorder, transposed(across), b, e, { way, accumulate: true });
    });
    const results: Float32Array[] = [];
    for (const tensor of [c, d, e])
      results.push(new Float32Array(await gpu.read(bufferOf(tensor))));
    return results;
  } finally {
    for (const tensor of Object.values(tensors)) gpu.memory.destroy(bufferOf(tensor));
  }
}

/**
 * Seconds that each way takes for one product, the best of several turns. The first turn compiles.
 */
async function timed(
  gpu: Gpu,
  ways: readonly Way[],
  dtype: Storage,
  { sizes, products }: Timed,
): Promise<number[]> {
  const [M, N, K] = sizes;
  const [a, b, c] = [made(gpu, [M, K], dtype), made(gpu, [K, N], dtype), made(gpu, [M, N], dtype)];
  const best = ways.map(() => Number.POSITIVE_INFINITY);
  for (let turn = 0; turn <= REPEATS; turn++) {
    for (const [i, way] of ways.entries()) {
      const seconds = await run(gpu, (recorder) => {
        for (let n = 0; n < products; n++) matmul(recorder, a, b, c, { way });
      });
      if (turn > 0) best[i] = Math.min(best[i], seconds / products);
    }
  }
  for (const tensor of [a, b, c]) gpu.memory.destroy(bufferOf(tensor));
  return best;
}

/** Seconds from the submission to its end. */
async function run(gpu: Gpu, record: (recorder: Recorder) => void): Promise<number> {
  const recorder = new Recorder(gpu, new Pool(gpu));
  // A shader that does not compile is a WebGPU error as well; the rejected pipeline says more about
  // it.
  gpu.device.pushErrorScope('validation');
  try {
    record(recorder);
  } finally {
    gpu.device.popErrorScope().catch(() => undefined);
  }
  const program = await recorder.build('tuning');
  const encoder = gpu.device.createCommandEncoder();
  program.encode(encoder);
  const commands = encoder.finish();
  await gpu.idle();
  const start = performance.now();
  gpu.device.queue.submit([commands]);
  await gpu.idle();
  program.destroy();
  return (performance.now() - start) / 1000;
}

/** A tensor of numbers between -1 and 1 that no short period repeats. */
function made(gpu: Gpu, shape: number[], dtype: Storage): Tensor {
  const tensor = persistentTensor(gpu, 'data', 'tuning', Layout.contiguous(shape), dtype);
  const values = Float32Array.from({ length: tensor.layout.numel }, (_, i) => Math.sin(1 + i * i));
  gpu.device.queue.writeBuffer(bufferOf(tensor), 0, dtype === 'f16' ? toHalf(values) : values);
  return tensor;
}
