// Opens the GPU device with every optional feature we use that the adapter has. Only this file
// names navigator.gpu.

import { Memory } from './memory';

/** WebGPU cannot serve this page or this run. */
export class GpuError extends Error {
  override name = 'GpuError';
  constructor(
    /** withdrawn: the page had a GPU before, and is refused another one. */
    readonly kind: 'no-webgpu' | 'no-adapter' | 'withdrawn' | 'limits',
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

/** The adapter's description and optional features. */
export interface AdapterFacts {
  /** The driver's description, or vendor and architecture if it gives none. */
  name: string;
  vendor: string;
  /** A software renderer: correct, but slow. */
  software: boolean;
  f16: boolean;
  /** Lanes of the smallest subgroup; 0 without subgroups. */
  subgroupSize: number;
  timestamps: boolean;
  /** The largest buffer range that one binding can hold, in bytes. */
  maxBindingBytes: number;
}

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render/i;
const FEATURES: GPUFeatureName[] = ['shader-f16', 'subgroups', 'timestamp-query'];
const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;
/**
 * Storage buffers that our largest kernel binds. WebGPU guarantees 8 unless it is in compatibility
 * mode.
 */
const STORAGE_BUFFERS = 8;

/** The longest that one submission should take: nothing else is drawn in that time. */
const SUBMISSION_MILLISECONDS = 100;

const ASK_AGAIN_MILLISECONDS = 1000;
/** Bytes of a staging buffer, through which the CPU reads. */
const READ_BYTES = 2 ** 24;
/** Bytes of all staging buffers of one reading. */
export const READ_AT_ONCE = 2 ** 26;

const BROWSERS =
  'Chrome or Edge 121 and later, Safari 26 and Firefox 141 and later have it on most machines.';

/** A device, its adapter's facts and its memory by purpose. */
export class Gpu {
  readonly memory: Memory;
  /** Most bytes of one buffer and of one binding. Tests lower them to split small models. */
  limits: { buffer: number; binding: number };
  /** The longest that one submission should take; see command-batch.ts. Tests change it. */
  submissionMilliseconds = SUBMISSION_MILLISECONDS;
  /** Resolves when the device is lost; never rejects. */
  readonly lost: Promise<GPUDeviceLostInfo>;
  /** Kernels whose compilation has begun, and has ended. */
  readonly compiled = { begun: 0, ended: 0 };
  /** Called when a kernel's compilation has ended. */
  onCompiled: () => void = () => {};
  /** Called with WebGPU's validation and out-of-memory errors, which no call throws. */
  onError: (error: Error) => void = (error) => {
    throw error;
  };
  /** How much the GPU was asked for and has not delivered yet, and what asks again meanwhile. */
  private readonly asked: { open: number; again?: ReturnType<typeof setInterval> } = { open: 0 };

  constructor(
    readonly device: GPUDevice,
    readonly adapter: AdapterFacts,
  ) {
    this.memory = new Memory(device);
    const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
    this.limits = {
      buffer: maxBufferSize,
      binding: Math.min(maxStorageBufferBindingSize, maxBufferSize),
    };
    this.lost = device.lost;
    device.addEventListener('uncapturederror', (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      const full = error instanceof GPUOutOfMemoryError;
      this.onError(full ? outOfMemory(this, error) : new Error(`WebGPU: ${error.message}`));
    });
  }

  /** Waits for everything submitted so far. Never called inside a step. */
  async idle(): Promise<void> {
    await this.answered(this.device.queue.onSubmittedWorkDone());
  }

  /**
   * Waits for what the GPU was asked for, such as a mapping or a pipeline. A browser may deliver it
   * only when the next command comes: until all has come, an empty command is sent each second.
   */
  async answered<T>(answer: Promise<T>): Promise<T> {
    const asked = this.asked;
    if (asked.open++ === 0)
      asked.again = setInterval(() => this.device.queue.submit([]), ASK_AGAIN_MILLISECONDS);
    try {
      return await answer;
    } finally {
      if (--asked.open === 0) clearInterval(asked.again);
    }
  }

  /**
   * Copies a buffer range to the CPU. Up to READ_AT_ONCE bytes are as they were at the call: what
   * is submitted later does not change them. Of a longer range, later parts are copied later, so
   * wait for the result. `bytes` and `offset` are multiples of 4.
   */
  async read(buffer: GPUBuffer, offset = 0, bytes = buffer.size - offset): Promise<ArrayBuffer> {
    const copy = new Uint8Array(bytes);
    const piece = async (from: number) => {
      const part = copy.subarray(from, from + READ_BYTES);
      const label = `read ${buffer.label}`;
      const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
      const staging = this.memory.create('metrics', label, part.length, usage);
      try {
        const encoder = this.device.createCommandEncoder();
        encoder.copyBufferToBuffer(buffer, offset + from, staging, 0, part.length);
        this.device.queue.submit([encoder.finish()]);
        await this.answered(staging.mapAsync(GPUMapMode.READ, 0, part.length));
        part.set(new Uint8Array(staging.getMappedRange(0, part.length)));
      } finally {
        staging.destroy();
      }
    };
    for (let from = 0; from < bytes; from += READ_AT_ONCE) {
      const pieces: Promise<void>[] = [];
      const to = Math.min(bytes, from + READ_AT_ONCE);
      for (let at = from; at < to; at += READ_BYTES) pieces.push(piece(at));
      await Promise.all(pieces);
    }
    return copy.buffer;
  }

  destroy(): void {
    this.device.destroy();
  }
}

/**
 * Opens a device with the adapter's own limits, and the features in FEATURES that it has.
 * @param api the browser's `navigator.gpu`, or Dawn's in Node
 * @throws GpuError that says what is missing and what would work
 */
export async function openGpu(api: GPU | undefined = globalThis.navigator?.gpu): Promise<Gpu> {
  if (!api) {
    throw new GpuError('no-webgpu', 'This browser has no WebGPU.', BROWSERS);
  }
  const adapter = await api.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    throw new GpuError(
      'no-adapter',
      'This browser supports WebGPU but found no usable GPU.',
      `The graphics driver may be blocked or switched off: see chrome://gpu. ${BROWSERS}`,
    );
  }
  const { maxStorageBuffersPerShaderStage } = adapter.limits;
  if (maxStorageBuffersPerShaderStage < STORAGE_BUFFERS) {
    throw new GpuError(
      'limits',
      `The adapter lets a shader bind ${maxStorageBuffersPerShaderStage} storage buffers; ` +
        `${STORAGE_BUFFERS} are needed.`,
      'Try another browser, or a newer graphics driver.',
    );
  }
  const requiredFeatures = FEATURES.filter((feature) => adapter.features.has(feature));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  const device = await adapter
    .requestDevice({ label: 'stillhouse', requiredFeatures, requiredLimits })
    .catch((error: Error) => {
      throw new GpuError(
        'no-adapter',
        `The GPU was found but gave no device: ${error.message}`,
        'Close other pages that use the GPU, or restart the browser. ' +
          'If it happens again, see chrome://gpu.',
      );
    });
  return new Gpu(device, describe(adapter));
}

/**
 * What WebGPU tells when it could not make something, with the size of what it was, if its message
 * names it, and with what this page has made.
 */
function outOfMemory({ memory }: Gpu, { message }: GPUError): GpuError {
  const bytes = Object.values(memory.totals()).reduce<number>((sum, each = 0) => sum + each, 0);
  const [said] = message.split('\n');
  const label = /BufferDescriptor "+([^"]+)"/.exec(message)?.[1] ?? '';
  const size = memory.asked.get(label);
  const needed = size === undefined ? '' : `“${label}” needs ${mebibytes(size)}: `;
  return new GpuError(
    'limits',
    `The GPU has no memory left, with ${mebibytes(bytes)} in use by this page: ${needed}${said}`,
    'Choose a smaller model, batch or context, or close other pages that use the GPU.',
  );
}

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function describe(adapter: GPUAdapter): AdapterFacts {
  const { vendor, architecture, device, description } = adapter.info;
  const named = [vendor, architecture, device].filter(Boolean).join(' ');
  return {
    name: description || named || 'unnamed adapter',
    vendor,
    software: adapter.info.isFallbackAdapter === true || SOFTWARE.test(`${named} ${description}`),
    f16: adapter.features.has('shader-f16'),
    subgroupSize: adapter.features.has('subgroups') ? (adapter.info.subgroupMinSize ?? 0) : 0,
    timestamps: adapter.features.has('timestamp-query'),
    maxBindingBytes: adapter.limits.maxStorageBufferBindingSize,
  };
}

/** @throws GpuError unless one binding can hold `bytes`. `what` names the buffer in the message. */
export function checkFits(gpu: Gpu, what: string, bytes: number): void {
  const limit = gpu.limits.binding;
  if (bytes <= limit) return;
  throw new GpuError(
    'limits',
    `${what} needs one buffer of ${mebibytes(bytes)}; this adapter allows ${mebibytes(limit)}.`,
    'Choose a smaller model, batch or context.',
  );
}
