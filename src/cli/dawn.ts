// Opens WebGPU in Node: Dawn, from the npm package `webgpu`. Which driver it finds is the system's
// choice (on Linux the environment variable VK_ICD_FILENAMES). Node does not exit by itself while
// the instance lives.

import { create, globals } from 'webgpu';

// Node crashes if the instance, or a device made from it, is garbage-collected while in use.
const alive = globalThis as { dawnInstance?: GPU; dawnDevices?: GPUDevice[] };

/**
 * The process's one GPU instance, with GPUBufferUsage and its like made global. Devices made from
 * it are kept alive for as long as the process; `device.destroy()` frees their memory.
 */
export async function openDawn(): Promise<GPU> {
  if (alive.dawnInstance) return alive.dawnInstance;
  Object.assign(globalThis, globals);
  keepDevices();
  copySharedViews();
  waitInsteadOfSpinning();
  // Rounding is for pages that may not be trusted; a profile wants the nanoseconds.
  alive.dawnInstance = create(['disable-dawn-features=timestamp_quantization']);
  // onnxruntime looks for WebGPU where a browser has it, even when it is handed a device. Node 20
  // has no navigator.
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
 * While the GPU is at work, Dawn asks after it in an endless chain of setImmediate, which keeps one
 * core busy. A software adapter needs that core: Dawn's own (native) callback comes a millisecond
 * later instead.
 */
function waitInsteadOfSpinning(): void {
  const immediately = globalThis.setImmediate;
  const isNative = (callback: unknown) =>
    /\[native code\]/.test(Function.prototype.toString.call(callback));
  const patched = (callback: (...args: unknown[]) => void, ...args: unknown[]) =>
    isNative(callback) ? setTimeout(callback, 1, ...args) : immediately(callback, ...args);
  globalThis.setImmediate = Object.assign(patched, immediately) as unknown as typeof setImmediate;
}

/**
 * Dawn in Node refuses views of a SharedArrayBuffer, which is what onnxruntime's WebAssembly memory
 * is.
 */
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
    // Offset and size count elements of the view, as in WebGPU's specification; slice() copies to
    // unshared memory.
    const view = data as unknown as Uint8Array;
    return writeBuffer.call(
      this,
      buffer,
      bufferOffset,
      view.slice(dataOffset, size && dataOffset + size),
    );
  } as GPUQueue['writeBuffer'];
}
