// What the kernel tests share: both variants of a kernel on either adapter, and the comparison with
// the slow twin. Tensors made of numbers come from src/check, which visitors run.
//
// A software adapter gives a row to one thread, a GPU to 64; so that both are tested everywhere,
// the test file's device is taken once for the one and once for the other. On an adapter without
// shader-f16 the f16 case proves that it is refused.

import { expect, it } from 'vitest';
import { type Storage, upload } from '../../src/check/tensors';
import { Gpu } from '../../src/gpu/device';
import * as reference from '../../src/reference';
import type { DType } from '../../src/tensor/dtype';
import { Layout } from '../../src/tensor/layout';
import { openTestDevice, takeErrors } from './harness';

export { download, execute, type Storage, stored, upload } from '../../src/check/tensors';

export type Lanes = 'one lane' | 'many lanes';

/**
 * Half of the distance between neighbouring f32 (f16) numbers, relative to them: what one rounding
 * may change.
 */
export const ROUNDING = { f32: 2 ** -24, f16: 2 ** -11 } as const;

/**
 * The tolerance of a sum of `terms`, of which each rounds once and cancellation leaves a few times
 * less, stored as `dtype`.
 */
export const summed = (terms: number, dtype: Storage = 'f32'): number =>
  4 * terms * ROUNDING.f32 + (dtype === 'f16' ? ROUNDING.f16 : 0);

const variants = new Map<Lanes, Gpu>();

/**
 * The test file's device as kernels see it that are made for a software adapter (one lane) or for a
 * GPU.
 */
export async function openVariant(lanes: Lanes): Promise<Gpu> {
  const own = await openTestDevice();
  // The same device and account of memory under another name, for which kernels are made afresh.
  const adapter = { ...own.adapter, software: lanes === 'one lane' };
  const gpu: Gpu =
    variants.get(lanes) ?? Object.assign(Object.create(Gpu.prototype), own, { adapter });
  variants.set(lanes, gpu);
  return gpu;
}

/**
 * A test for each storage type and number of lanes. Without shader-f16 the f16 body must be refused
 * by the compiler.
 */
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
