// The device of the gpu tests: Dawn in Node, on the Vulkan driver that VK_ICD_FILENAMES names.
// tests/run.mjs sets that, and ADAPTER to what the driver must offer. A missing adapter, another
// adapter than asked for, and any WebGPU error that nobody caught fail the test.

import { afterEach } from 'vitest';
import { openDawn } from '../../src/cli/dawn';
import { type Gpu, openGpu } from '../../src/gpu/device';

const opened = new Map<string, Promise<Gpu>>();
const uncaught: Error[] = [];

/**
 * The test file's one device, the same at every call with the same label. Its `adapter.f16` says
 * what storage to test.
 * @param label a second label opens a second device, for tests that lose or destroy one
 */
export function openTestDevice(label = 'shared'): Promise<Gpu> {
  const gpu = opened.get(label) ?? open();
  opened.set(label, gpu);
  return gpu;
}

async function open(): Promise<Gpu> {
  const gpu = await openGpu(await openDawn());
  gpu.onError = (error) => uncaught.push(error);
  const { ADAPTER: asked, VK_ICD_FILENAMES: driver } = process.env;
  const { name, f16 } = gpu.adapter;
  if (asked && asked !== (f16 ? 'f16' : 'f32')) {
    throw new Error(
      `open the test device: ${asked} was asked for, and VK_ICD_FILENAMES=${driver} gave "${name}", ` +
        `${f16 ? 'which has f16' : 'which has no f16'}. Use the drivers that tests/browser/setup.sh names.`,
    );
  }
  return gpu;
}

/**
 * Returns the WebGPU errors that no error scope caught, and forgets them: for tests that provoke
 * one.
 */
export function takeErrors(): Error[] {
  return uncaught.splice(0);
}

afterEach(async () => {
  for (const gpu of await Promise.allSettled(opened.values())) {
    if (gpu.status === 'fulfilled')
      await gpu.value.device.queue.onSubmittedWorkDone().catch(() => {});
  }
  const errors = takeErrors();
  if (errors.length > 0)
    throw new Error(`${errors.length} WebGPU errors in this test; the first: ${errors[0].message}`);
});
