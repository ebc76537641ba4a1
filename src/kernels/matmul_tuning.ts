// At start-up: checks every variant of the matrix product against the plain one on this adapter,
// and times it. matmul() then takes the fastest variant that is right.

import type { Gpu } from '../gpu/device';
import type { Storage } from '../gpu/kernel';
import { bufferOf, Pool, persistentTensor, Recorder, type Tensor } from '../gpu/program';
import { toHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import { matmul } from './matmul';
import { type MatmulVariant, setSpeeds, variantsFor } from './matmul_variants';
import { transposed } from './tensors';

/** The result of checking and timing a variant. */
export interface VariantReport {
  name: string;
  /** Floating-point operations a second, 2·M·N·K of them in a product; 0 if it must not be used. */
  flops: number;
  /** Why it must not be used. */
  fault?: string;
}

type Sizes = readonly [M: number, N: number, K: number];
/** The products that are timed. */
interface Timing {
  sizes: Sizes;
  products: number;
}
/** Products large enough to fill the adapter, and enough of them that submitting costs little. */
const TIMINGS: Record<'software' | 'gpu', Timing> = {
  software: { sizes: [128, 512, 256], products: 1 },
  gpu: { sizes: [2048, 2048, 256], products: 8 },
};
/** Multiples of 4, as vec4 loads need; they fill no workgroup, subgroup or strip evenly. */
const CHECKED: Sizes = [148, 140, 44];
/** The best of so many times counts: other load on the machine only adds time. */
const REPEATS = 3;

const tunings = new WeakMap<Gpu, Map<Storage, Promise<VariantReport[]>>>();

/**
 * Checks and times this adapter's variants for products of `dtype`, once a device: a second call
 * waits for the first one's reports. Takes some tenths of a second, most of it compilation. A
 * variant that is wrong or does not run is never used. Returns no reports if there is only one.
 */
export function tuneMatmul(
  gpu: Gpu,
  dtype: Storage,
  timing: Timing = TIMINGS[gpu.adapter.software ? 'software' : 'gpu'],
): Promise<VariantReport[]> {
  const known = tunings.get(gpu) ?? new Map<Storage, Promise<VariantReport[]>>();
  tunings.set(gpu, known);
  const reports = known.get(dtype) ?? tune(gpu, dtype, timing);
  known.set(dtype, reports);
  // A device that was lost, for example, must not fail the next call, too.
  reports.catch(() => known.delete(dtype));
  return reports;
}

async function tune(gpu: Gpu, dtype: Storage, timing: Timing): Promise<VariantReport[]> {
  const [plain, ...others] = variantsFor(gpu);
  if (others.length === 0) return [];
  const expected = await checkedProducts(gpu, plain, dtype);
  const faults = new Map<MatmulVariant, string>();
  for (const variant of others) {
    const fault = await faultOf(gpu, variant, dtype, expected);
    if (fault) faults.set(variant, fault);
  }
  const usable = [plain, ...others].filter((variant) => !faults.has(variant));
  const seconds = await timeVariants(gpu, usable, dtype, timing);
  const [M, N, K] = timing.sizes;
  const reports = [plain, ...others].map((variant) => {
    const flops = faults.has(variant) ? 0 : (2 * M * N * K) / seconds[usable.indexOf(variant)];
    return { name: variant.name, flops, fault: faults.get(variant) };
  });
  setSpeeds(gpu, dtype, new Map(reports.map(({ name, flops }) => [name, flops])));
  return reports;
}

/**
 * Why a variant must not be used: it does not run, or its sums differ from the plain variant's by
 * more than another order of summation explains.
 */
async function faultOf(
  gpu: Gpu,
  variant: MatmulVariant,
  dtype: Storage,
  expected: Float32Array[],
): Promise<string | undefined> {
  try {
    const results = await checkedProducts(gpu, variant, dtype);
    const errors = results.map((sums, i) => sums.map((sum, at) => Math.abs(sum - expected[i][at])));
    // A NaN anywhere makes this a NaN, which no comparison lets pass.
    const error = Math.max(...errors.map((all) => Math.max(...all)));
    // A sum of K products of numbers below 1 may round each time by half of 2^-23 of the sum so
    // far, in this variant and in the plain one.
    const tolerance = CHECKED[2] ** 2 * 2 ** -23;
    return error <= tolerance
      ? undefined
      : `Its sums are off by ${error}; ${tolerance} is allowed.`;
  } catch (error) {
    return (error as Error).message;
  }
}

/** x · w, dy · wᵀ and c + xᵀ · dy, in f32. */
async function checkedProducts(
  gpu: Gpu,
  variant: MatmulVariant,
  dtype: Storage,
): Promise<Float32Array[]> {
  const [M, N, K] = CHECKED;
  const tensors = {
    x: filled(gpu, [M, K], dtype),
    xT: filled(gpu, [K, M], dtype),
    w: filled(gpu, [K, N], dtype),
    wT: filled(gpu, [N, K], dtype),
    y: filled(gpu, [M, N], 'f32'),
    dx: filled(gpu, [M, N], 'f32'),
    dw: filled(gpu, [M, N], 'f32'),
  };
  const { x, xT, w, wT, y, dx, dw } = tensors;
  try {
    await run(gpu, (recorder) => {
      matmul(recorder, x, w, y, { variant });
      matmul(recorder, x, transposed(wT), dx, { variant });
      matmul(recorder, transposed(xT), w, dw, { variant, accumulate: true });
    });
    const results: Float32Array[] = [];
    for (const tensor of [y, dx, dw])
      results.push(new Float32Array(await gpu.read(bufferOf(tensor))));
    return results;
  } finally {
    for (const tensor of Object.values(tensors)) gpu.memory.destroy(bufferOf(tensor));
  }
}

/** Seconds that each variant takes for one product, the best of several turns. */
async function timeVariants(
  gpu: Gpu,
  variants: readonly MatmulVariant[],
  dtype: Storage,
  { sizes, products }: Timing,
): Promise<number[]> {
  const [M, N, K] = sizes;
  const a = filled(gpu, [M, K], dtype);
  const b = filled(gpu, [K, N], dtype);
  const c = filled(gpu, [M, N], dtype);
  const best = variants.map(() => Number.POSITIVE_INFINITY);
  for (let turn = 0; turn <= REPEATS; turn++) {
    for (const [i, variant] of variants.entries()) {
      const seconds = await run(gpu, (recorder) => {
        for (let n = 0; n < products; n++) matmul(recorder, a, b, c, { variant });
      });
      // The first turn compiles and is not counted.
      if (turn > 0) best[i] = Math.min(best[i], seconds / products);
    }
  }
  for (const tensor of [a, b, c]) gpu.memory.destroy(bufferOf(tensor));
  return best;
}

/** Seconds from submission to completion. */
async function run(gpu: Gpu, record: (recorder: Recorder) => void): Promise<number> {
  const recorder = new Recorder(gpu, new Pool(gpu));
  // A shader that does not compile is a WebGPU error as well, but the rejected pipeline says more.
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

/** A tensor of numbers between -1 and 1, without a short period. */
function filled(gpu: Gpu, shape: number[], dtype: Storage): Tensor {
  const tensor = persistentTensor(gpu, 'data', 'tuning', Layout.contiguous(shape), dtype);
  const values = Float32Array.from({ length: tensor.layout.numel }, (_, i) => Math.sin(1 + i * i));
  gpu.device.queue.writeBuffer(bufferOf(tensor), 0, dtype === 'f16' ? toHalf(values) : values);
  return tensor;
}
