// Opening the device, on fake adapters: whatever is missing, the error says so and gives a hint.

import { expect, it } from 'vitest';
import { checkFits, GpuError, openGpu } from '../../src/gpu/device';
import { openTestDevice } from './harness';

const ENOUGH = {
  maxBufferSize: 2 ** 28,
  maxStorageBufferBindingSize: 2 ** 27,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
};

/** A browser's GPU that offers one adapter, or none, and remembers the requested devices. */
function browser(
  adapter: {
    limits?: Record<string, number>;
    features?: string[];
    info?: Partial<GPUAdapterInfo>;
  } | null,
) {
  const requests: GPUDeviceDescriptor[] = [];
  const device = {
    lost: new Promise(() => undefined),
    addEventListener: () => undefined,
    createBuffer: () => undefined,
    limits: ENOUGH,
  };
  const offered = adapter && {
    limits: { ...ENOUGH, ...adapter.limits },
    features: new Set(adapter.features ?? []),
    info: { vendor: '', architecture: '', device: '', description: '', ...adapter.info },
    requestDevice: async (descriptor: GPUDeviceDescriptor) => {
      requests.push(descriptor);
      return device;
    },
  };
  return { api: { requestAdapter: async () => offered } as unknown as GPU, requests };
}

async function refusal(api: GPU | undefined): Promise<GpuError> {
  const error = await openGpu(api).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof GpuError)) throw new Error(`expected a GpuError, got ${error}`);
  return error;
}

it('a browser without WebGPU is told which ones have it', async () => {
  // Without an argument openGpu takes navigator.gpu, which Node lacks unless a test has set it.
  const navigator = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  try {
    const error = await refusal(undefined);
    expect(error).toMatchObject({
      name: 'GpuError',
      kind: 'no-webgpu',
      message: 'This browser has no WebGPU.',
    });
    expect(error.hint).toMatch(/Chrome.*Safari.*Firefox/);
  } finally {
    if (navigator) Object.defineProperty(globalThis, 'navigator', navigator);
    else Reflect.deleteProperty(globalThis, 'navigator');
  }
});

it('WebGPU without an adapter: the hint names the driver and where to look', async () => {
  const error = await refusal(browser(null).api);
  expect(error.kind).toBe('no-adapter');
  expect(error.message).toBe('This browser supports WebGPU but found no usable GPU.');
  expect(error.hint).toContain('chrome://gpu');
});

it('too few storage buffers: the error has both numbers', async () => {
  const { api, requests } = browser({ limits: { maxStorageBuffersPerShaderStage: 4 } });
  const error = await refusal(api);
  expect(error.kind).toBe('limits');
  expect(error.message).toBe('The adapter lets a shader bind 4 storage buffers; 8 are needed.');
  expect(error.hint).toContain('another browser');
  expect(requests).toEqual([]);
});

it('requests the features that the adapter has and we use, and no others', async () => {
  const full = browser({
    features: ['shader-f16', 'timestamp-query', 'bgra8unorm-storage'],
    info: { vendor: 'acme', architecture: 'one' },
  });
  const gpu = await openGpu(full.api);
  expect(full.requests).toHaveLength(1);
  expect(full.requests[0].requiredFeatures).toEqual(['shader-f16', 'timestamp-query']);
  expect(full.requests[0].requiredLimits).toEqual(ENOUGH);
  expect(gpu.adapter).toEqual({
    name: 'acme one',
    vendor: 'acme',
    software: false,
    f16: true,
    subgroupSize: 0,
    timestamps: true,
    maxBindingBytes: ENOUGH.maxStorageBufferBindingSize,
  });
  const bare = browser({});
  expect((await openGpu(bare.api)).adapter).toMatchObject({
    name: 'unnamed adapter',
    f16: false,
    timestamps: false,
  });
  expect(bare.requests[0].requiredFeatures).toEqual([]);
});

it.each([
  ['SwiftShader Device (Subzero)', {}, true],
  ['llvmpipe (LLVM 19.1, 256 bits)', {}, true],
  ['Microsoft Basic Render Driver', {}, true],
  ['NVIDIA RTX', { isFallbackAdapter: true }, true],
  ['Apple M4', {}, false],
])('%s is recognised as software or hardware', async (description, info, software) => {
  const { adapter } = await openGpu(browser({ info: { description, ...info } }).api);
  expect(adapter).toMatchObject({ name: description, software });
});

it('the adapters of these tests are recognised as software', async () => {
  const { adapter } = await openTestDevice();
  expect(adapter.software).toBe(true);
  expect(adapter.name).toMatch(/swiftshader|llvmpipe/i);
});

it('checkFits accepts what one binding can hold, and else names both sizes', async () => {
  const gpu = await openTestDevice();
  const { maxBufferSize, maxStorageBufferBindingSize } = gpu.device.limits;
  const limit = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  expect(() => checkFits(gpu, 'The model’s weights', limit)).not.toThrow();
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const message =
    `The model’s weights needs one buffer of ${mib(3 * limit)}; ` +
    `this adapter allows ${mib(limit)}.`;
  expect(() => checkFits(gpu, 'The model’s weights', 3 * limit)).toThrow(
    expect.objectContaining({
      kind: 'limits',
      message,
      hint: 'Choose a smaller model, batch or context.',
    }),
  );
});

it('reads a range of a buffer', async () => {
  const gpu = await openTestDevice();
  const buffer = gpu.memory.create('data', 'part', 32);
  gpu.device.queue.writeBuffer(buffer, 0, new Uint32Array([1, 2, 3, 4, 5, 6, 7, 8]));
  expect([...new Uint32Array(await gpu.read(buffer, 8, 12))]).toEqual([3, 4, 5]);
  expect([...new Uint32Array(await gpu.read(buffer, 24))]).toEqual([7, 8]);
  gpu.memory.destroy(buffer);
});

it('a lost device resolves gpu.lost and rejects nothing', async () => {
  const gpu = await openTestDevice('to be lost');
  gpu.destroy();
  expect(await gpu.lost).toMatchObject({ reason: 'destroyed' });
});
