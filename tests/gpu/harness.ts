// The device of the gpu tests: Dawn in Node, on the Vulkan driver that VK_ICD_FILENAMES names.
// tests/run.mjs sets that variable, and ADAPTER to the storage type that the driver must offer. A
// missing or wrong adapter fails the test, and so does any uncaught WebGPU error.

import { openDawn } from '../../src/cli/dawn';
import { type Gpu, openGpu } from '../../src/gpu/device';

const SHARED = 'shared';
const opened = new Map<string, Promise<Gpu>>();
const uncaught: Error[] = [];

/**
 * The device of all test files that run in this process. `adapter.f16` says which storage types to
 * test.
 * @param label another label opens another device, the test file's own: for tests that lose one,
 * that need one without kernels, or that leave it changed
 */
export function openTestDevice(label = SHARED): Promise<Gpu> {
  const gpu = opened.get(label) ?? open();
  opened.set(label, gpu);
  return gpu;
}

async function open(): Promise<Gpu> {
  const gpu = await openGpu(await openDawn());
  gpu.onError = (error) => uncaught.push(error);
  const { ADAPTER: requested, VK_ICD_FILENAMES: driver } = process.env;
  const { name, f16 } = gpu.adapter;
  if (requested && requested !== (f16 ? 'f16' : 'f32')) {
    throw new Error(
      `open the test device: ADAPTER=${requested}, but VK_ICD_FILENAMES=${driver} gave ` +
        `"${name}", which has ${f16 ? '' : 'no '}f16. ` +
        'Use the drivers that tests/browser/setup.sh names.',
    );
  }
  return gpu;
}

/** Returns and forgets the uncaught WebGPU errors: for tests that provoke one. */
export function takeErrors(): Error[] {
  return uncaught.splice(0);
}

/** Waits for what a test has submitted. @throws if it caused a WebGPU error that nobody took. */
export async function endTest(): Promise<void> {
  for (const gpu of await Promise.allSettled(opened.values())) {
    if (gpu.status === 'fulfilled')
      await gpu.value.device.queue.onSubmittedWorkDone().catch(() => {});
  }
  const errors = takeErrors();
  if (errors.length > 0)
    throw new Error(`${errors.length} WebGPU errors in this test; the first: ${errors[0].message}`);
}

/** Destroys the devices that a test file has opened for itself. */
export async function closeOwnDevices(): Promise<void> {
  for (const [label, gpu] of opened) {
    if (label === SHARED) continue;
    opened.delete(label);
    (await gpu.catch(() => undefined))?.device.destroy();
  }
}
