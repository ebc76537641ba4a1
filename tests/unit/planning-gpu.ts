// A device that is only asked for its limits and counts memory, for tests that run without a GPU,
// and the constants of WebGPU that code reads while it plans.

import { afterAll, beforeAll, vi } from 'vitest';
import type { Gpu } from '../../src/gpu/device';

export const planningGpu = {
  device: {
    limits: { maxComputeWorkgroupsPerDimension: 65535, maxBufferSize: 2 ** 28 },
    features: new Set(),
  },
  adapter: { software: false, f16: true },
  limits: { buffer: 2 ** 28, binding: 2 ** 27 },
} as unknown as Gpu;

/** For all tests of the file that calls it. */
export function withGpuConstants(): void {
  beforeAll(() => {
    vi.stubGlobal('GPUBufferUsage', {
      MAP_READ: 1,
      COPY_SRC: 4,
      COPY_DST: 8,
      UNIFORM: 64,
      STORAGE: 128,
    });
    vi.stubGlobal('GPUMapMode', { READ: 1 });
    vi.stubGlobal('GPUShaderStage', { COMPUTE: 4 });
  });
  afterAll(() => void vi.unstubAllGlobals());
}
