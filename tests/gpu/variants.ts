// What the kernel tests share: both variants of a kernel on each adapter, and the comparison with
// the reference. Tensors made of numbers come from src/check, which visitors run.
//
// On a software adapter one thread takes a row, on a GPU 64 share it. To test both on every
// adapter, the tests' device poses as one and as the other.
//
// What one adapter tests, the other leaves out. SwiftShader has no f16, and tests f32 with either
// number of lanes; lavapipe tests f16. It compiles the text for GPUs for seconds, since that waits
// at barriers: there a whole step has many lanes in f16 (gradients.test.ts), and
// check-many-lanes.test.ts says why that is enough.

import { expect, it } from 'vitest';
import { lossState, type Storage, upload } from '../../src/check/tensors';
import { Gpu } from '../../src/gpu/device';
import * as reference from '../../src/reference';
import type { DType } from '../../src/tensor/dtype';
import { Layout } from '../../src/tensor/layout';
import { openTestDevice } from './harness';

export { download, execute, type Storage, stored, upload } from '../../src/check/tensors';

export type Lanes = 'one lane' | 'many lanes';

/** Half the relative distance between neighbouring numbers: the error of one rounding. */
export const ROUNDING = { f32: 2 ** -24, f16: 2 ** -11 } as const;

/**
 * The tolerance of a sum of `terms` terms stored as `dtype`. Each addition rounds once, and
 * cancellation may leave a sum a few times smaller than its terms.
 */
export const summed = (terms: number, dtype: Storage = 'f32'): number =>
  4 * terms * ROUNDING.f32 + (dtype === 'f16' ? ROUNDING.f16 : 0);

/** What the adapters leave to each other; see the top of this file. */
const LEFT_OUT: Record<string, (dtype: Storage, lanes: Lanes) => boolean> = {
  f16: (dtype, lanes) => dtype === 'f32' || lanes === 'many lanes',
  f32: (dtype) => dtype === 'f16',
};
const leavesOut = LEFT_OUT[process.env.ADAPTER ?? ''] ?? (() => false);

const ALL_LANES: readonly Lanes[] = ['one lane', 'many lanes'];

/** The numbers of lanes that this adapter tests in f32 where it tests that at all. */
export const LANES = process.env.ADAPTER === 'f16' ? ALL_LANES.slice(0, 1) : ALL_LANES;

const variants = new WeakMap<Gpu, Map<Lanes, Gpu>>();

/**
 * A test device posing as a software adapter (one lane) or as a GPU (many lanes).
 * @param label see `openTestDevice`
 */
export async function openVariant(lanes: Lanes, label?: string): Promise<Gpu> {
  const real = await openTestDevice(label);
  const ofDevice = variants.get(real) ?? new Map<Lanes, Gpu>();
  variants.set(real, ofDevice);
  // Another Gpu object on the same device and memory, so that kernels are compiled anew for it.
  const adapter = { ...real.adapter, software: lanes === 'one lane' };
  const gpu: Gpu =
    ofDevice.get(lanes) ?? Object.assign(Object.create(Gpu.prototype), real, { adapter });
  ofDevice.set(lanes, gpu);
  return gpu;
}

/**
 * Declares a test for each storage type and number of lanes that this adapter tests.
 * @param also in f16 with many lanes, too
 */
export function testVariants(
  title: string,
  body: (gpu: Gpu, dtype: Storage) => Promise<void>,
  allLanes: readonly Lanes[] = ALL_LANES,
  dtypes: readonly Storage[] = ['f32', 'f16'],
  also?: 'f16, many lanes',
): void {
  for (const dtype of dtypes) {
    for (const lanes of allLanes) {
      const asked = `${dtype}, ${lanes}` === also && process.env.ADAPTER !== 'f32';
      if (leavesOut(dtype, lanes) && !asked) continue;
      it(`${title} (${dtype}, ${lanes})`, async () => {
        await body(await openVariant(lanes), dtype);
      });
    }
  }
}

/** Declares a test that would show on SwiftShader, slowly, only what it shows on lavapipe. */
export function itOnce(title: string, body: () => Promise<void>): void {
  if (process.env.ADAPTER !== 'f32') it(title, body);
}

/** The Step and the Scaler that a loss reads; see lossState. */
export function uploadLossState(gpu: Gpu, options: Parameters<typeof lossState>[0]) {
  const { step, scaler } = lossState(options);
  return {
    step: upload(gpu, 'step', step.values, step.layout).place,
    scaler: upload(gpu, 'scaler', scaler.values, scaler.layout).place,
  };
}

/** A zeroed tensor. */
export const zeros = (gpu: Gpu, label: string, shape: number[], dtype: DType = 'f32') =>
  upload(gpu, label, new Float64Array(Layout.contiguous(shape).numel), shape, dtype);

/**
 * Fails unless every element is within `tolerance` × the largest magnitude: of what is expected, or
 * of the terms that it is the sum of. A NaN is never close.
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
