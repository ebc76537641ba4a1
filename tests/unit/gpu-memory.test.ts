// What the page says when the GPU has no memory left: how much was asked for, and what it has.

import { afterEach, expect, test, vi } from 'vitest';
import { Gpu, GpuError } from '../../src/gpu/device';

class GPUOutOfMemoryError {
  constructor(readonly message: string) {}
}
afterEach(() => vi.unstubAllGlobals());

test.each([
  [
    // As Chromium and Dawn in Node say it.
    'vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY\n' +
      ' - While calling [Device "x"].CreateBuffer([BufferDescriptor ""master""]).\n    at Check',
    '“master” needs 64.0 MiB: vkAllocateMemory failed with VK_ERROR_OUT_OF_DEVICE_MEMORY',
  ],
  ['Not enough memory left.', 'Not enough memory left.'],
])('a GPU without memory: %j', (message, said) => {
  vi.stubGlobal('GPUBufferUsage', { STORAGE: 1, COPY_SRC: 2, COPY_DST: 4 });
  vi.stubGlobal('GPUOutOfMemoryError', GPUOutOfMemoryError);
  let report = (_: object) => {};
  const device = {
    limits: {},
    addEventListener: (_: string, listener: typeof report) => {
      report = listener;
    },
    createBuffer: ({ size }: GPUBufferDescriptor) => ({ size, destroy() {} }),
  };
  const gpu = new Gpu(device as unknown as GPUDevice, {} as Gpu['adapter']);
  const errors: unknown[] = [];
  gpu.onError = (error) => errors.push(error);
  gpu.memory.create('weights', 'small', 2 ** 20);
  gpu.memory.create('optimiser', 'master', 2 ** 26);
  report({ error: new GPUOutOfMemoryError(message) });
  expect(errors).toEqual([
    new GpuError(
      'limits',
      `The GPU has no memory left, with 65.0 MiB in use by this page: ${said}`,
      'Choose a smaller model, batch or context, or close other pages that use the GPU.',
    ),
  ]);
});
