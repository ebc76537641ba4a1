// Opens WebGPU in Node: Dawn, from the npm package `webgpu`. The system chooses the driver; on
// Linux the environment variable VK_ICD_FILENAMES overrides it. Node does not exit by itself while
// the instance exists.

import { create, globals } from 'webgpu';

// Node crashes if the instance, or a device made from it, is garbage-collected while in use.
const alive = globalThis as { dawnInstance?: GPU; dawnDevices?: GPUDevice[] };

/**
 * The process's one GPU instance. Makes GPUBufferUsage and the other WebGPU constants global.
 * Devices stay referenced until the process ends; `device.destroy()` frees their memory.
 * @param features of Dawn to switch on; only the first call's count
 */
export async function openDawn(features: readonly string[] = []): Promise<GPU> {
  if (alive.dawnInstance) return alive.dawnInstance;
  Object.assign(globalThis, globals);
  keepDevices();
  copySharedViews();
  waitInsteadOfSpinning();
  // Browsers round timestamps against malicious pages; a profile needs the nanoseconds.
  const enabled = features.length > 0 ? [`enable-dawn-features=${features.join(',')}`] : [];
  alive.dawnInstance = create(['disable-dawn-features=timestamp_quantization', ...enabled]);
  // onnxruntime looks for navigator.gpu even when it is given a device, and Node 20 has no
  // navigator.
  if (typeof navigator === 'undefined')
    Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  Object.defineProperty(navigator, 'gpu', { value: alive.dawnInstance, configurable: true });
  return alive.dawnInstance;
}

function keepDevices(): void {
  const requestDevice = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (
    this: GPUAdapter,
    descriptor?: GPUDeviceDescriptor,
  ) {
    const device = await requestDevice.call(this, descriptor);
    (alive.dawnDevices ??= []).push(device);
    return device;
  };
}

/**
 * While the GPU works, Dawn polls it in an endless chain of setImmediate, which keeps a core busy.
 * A software adapter needs that core, so Dawn's native callbacks are delayed by a millisecond.
 */
function waitInsteadOfSpinning(): void {
  const immediately = globalThis.setImmediate;
  const isNative = (callback: unknown) =>
    /\[native code\]/.test(Function.prototype.toString.call(callback));
  const patched = (callback: (...args: unknown[]) => void, ...args: unknown[]) =>
    isNative(callback) ? setTimeout(callback, 1, ...args) : immediately(callback, ...args);
  globalThis.setImmediate = Object.assign(patched, immediately) as unknown as typeof setImmediate;
}

/** Dawn in Node refuses views of a SharedArrayBuffer, which onnxruntime's WebAssembly memory is. */
function copySharedViews(): void {
  const writeBuffer = GPUQueue.prototype.writeBuffer as (
    this: GPUQueue,
    ...args: unknown[]
  ) => undefined;
  GPUQueue.prototype.writeBuffer = function (
    this: GPUQueue,
    buffer,
    bufferOffset,
    data,
    dataOffset = 0,
    size,
  ) {
    if (!ArrayBuffer.isView(data) || !(data.buffer instanceof SharedArrayBuffer)) {
      return writeBuffer.call(this, buffer, bufferOffset, data, dataOffset, size);
    }
    // As WebGPU specifies, offset and size count elements of the view. slice() copies to unshared
    // memory.
    const view = data as unknown as Uint8Array;
    return writeBuffer.call(
      this,
      buffer,
      bufferOffset,
      view.slice(dataOffset, size && dataOffset + size),
    );
  } as GPUQueue['writeBuffer'];
}
