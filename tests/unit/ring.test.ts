// How far the CPU runs ahead of the GPU: far enough to keep it busy, and no further.

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Ring } from '../../src/distill/ring';
import { Gpu } from '../../src/gpu/device';
import { Kernel } from '../../src/gpu/kernel';

/** A GPU with this queue, whose buffers are mapped by `mapAsync`. */
function gpuWith(mapAsync: () => Promise<void>, submit = () => {}): Gpu {
  const device = {
    limits: {},
    lost: new Promise<never>(() => {}),
    queue: { submit },
    addEventListener() {},
    createBuffer: ({ size }: GPUBufferDescriptor) => ({
      size,
      mapAsync,
      getMappedRange: () => new ArrayBuffer(4),
      unmap() {},
      destroy() {},
    }),
  };
  return new Gpu(device as unknown as GPUDevice, {} as Gpu['adapter']);
}

/** A GPU whose tasks take `milliseconds` each, and whose results arrive `late` ms later. */
function slowGpu(milliseconds: number, late = 0): Gpu {
  let free = 0;
  return gpuWith(() => {
    free = Math.max(free, performance.now()) + milliseconds;
    return new Promise<void>((resolve) => setTimeout(resolve, free + late - performance.now()));
  });
}

/**
 * Sends `count` results as fast as the ring allows. Returns those in flight at each, and the time.
 */
async function run(gpu: Gpu, count: number) {
  const ring = new Ring(gpu, 4);
  const flying: number[] = [];
  const handled: number[] = [];
  let sent = 0;
  const started = performance.now();
  const all = (async () => {
    for (; sent < count; ) {
      const buffer = await ring.take();
      const number = sent++;
      flying.push(sent - handled.length);
      ring.send(buffer, () => handled.push(number));
    }
    await ring.drain();
    return performance.now() - started;
  })();
  await vi.runAllTimersAsync();
  const took = await all;
  expect(handled).toEqual(Array.from({ length: count }, (_, i) => i));
  return { flying, took };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('GPUBufferUsage', { MAP_READ: 1, COPY_DST: 8 });
  vi.stubGlobal('GPUMapMode', { READ: 1 });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('a slow GPU has exactly one more step on its queue', async () => {
  const { flying, took } = await run(slowGpu(800), 20);
  expect(Math.max(...flying)).toBe(2);
  expect(took).toBe(20 * 800);
});

test('a fast GPU has as many steps on its queue as it does in 200 ms', async () => {
  const { flying } = await run(slowGpu(40), 40);
  expect(flying.slice(0, 2)).toEqual([1, 2]);
  expect(Math.max(...flying)).toBe(5);
});

test('if results arrive 0.1 s late, more are in flight, and the GPU does not wait', async () => {
  const { flying, took } = await run(slowGpu(10, 100), 200);
  expect(Math.max(...flying)).toBeGreaterThanOrEqual(11);
  expect(Math.max(...flying)).toBeLessThanOrEqual(16);
  // The GPU's own time, the last result's delay, and the steps until the ring has adapted.
  expect(took).toBeLessThan(1.2 * 200 * 10 + 100);
});

test('a result that the browser gives only with the next command gets an empty one', async () => {
  const held: (() => void)[] = [];
  let commands = 0;
  const mapAsync = () => new Promise<void>((resolve) => held.push(resolve));
  const submit = () => {
    commands++;
    for (const resolve of held.splice(0)) resolve();
  };
  const { took } = await run(gpuWith(mapAsync, submit), 4);
  expect(took).toBeLessThan(5000);
  expect(commands).toBeLessThanOrEqual(4);
});

test('so does a pipeline, and once nothing is awaited, no more commands are sent', async () => {
  let commands = 0;
  let deliver = () => {};
  const gpu = gpuWith(
    async () => {},
    () => {
      commands++;
      deliver();
    },
  );
  const pipeline = new Promise<object>((resolve) => {
    deliver = () => resolve({});
  });
  Object.assign(gpu.device, {
    createShaderModule: () => ({}),
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createComputePipelineAsync: () => pipeline,
  });
  vi.stubGlobal('GPUShaderStage', { COMPUTE: 4 });
  const text = '@group(0) @binding(0) var<storage> x: array<f32>;';
  const kernel = new Kernel(gpu, 'late', [{ text, file: 'late.wgsl', line: 1 }]);
  await vi.advanceTimersByTimeAsync(5000);
  await kernel.ready;
  expect(commands).toBe(1);
});
