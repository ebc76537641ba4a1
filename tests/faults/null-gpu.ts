// A GPU for tests that computes nothing: buffers keep what is written and copied, kernels leave
// them as they are, and each step counts as applied. It tells what it is asked for, so that a test
// can lose it or fill its memory at a chosen call. It fails as the specification says a device
// does.

import { SCALER } from '../../src/kernels/sources';

export type GpuCall = 'createBuffer' | 'createComputePipelineAsync' | 'submit' | 'mapAsync';

const LIMITS = {
  maxBufferSize: 2 ** 24,
  maxStorageBufferBindingSize: 2 ** 24,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
};
const FEATURES = ['shader-f16', 'timestamp-query'];

/** What a browser has besides `navigator.gpu`. */
export const GPU_CONSTANTS = {
  GPUBufferUsage: {
    MAP_READ: 1,
    COPY_SRC: 4,
    COPY_DST: 8,
    UNIFORM: 64,
    STORAGE: 128,
    QUERY_RESOLVE: 512,
  },
  GPUMapMode: { READ: 1 },
  GPUShaderStage: { COMPUTE: 4 },
};

type Command = () => void;
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

class NullBuffer {
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #mapped = false;

  constructor(
    private readonly device: NullDevice,
    readonly label: string,
    readonly size: number,
  ) {}

  /** Made when it is first looked at: a test that fills the memory does not fill the machine's. */
  get contents(): Uint8Array<ArrayBuffer> {
    this.#bytes ??= new Uint8Array(this.size);
    return this.#bytes;
  }

  async mapAsync(): Promise<void> {
    this.device.tell('mapAsync', this.label);
    await nextTurn();
    if (this.device.isLost) throw new DOMException('The device is lost.', 'AbortError');
    this.#mapped = true;
  }

  getMappedRange(offset = 0, size = this.size - offset): ArrayBuffer {
    if (!this.#mapped) throw new DOMException('The buffer is not mapped.', 'OperationError');
    return this.contents.slice(offset, offset + size).buffer;
  }

  unmap(): void {
    this.#mapped = false;
  }

  destroy(): void {
    this.unmap();
  }
}

export class NullDevice extends EventTarget {
  readonly limits = LIMITS;
  readonly features = new Set(FEATURES);
  readonly lost: Promise<{ reason: string; message: string }>;
  isLost = false;
  #resolveLost: (info: { reason: string; message: string }) => void = () => {};
  readonly #scopes: { filter: string; message?: string }[] = [];

  constructor(private readonly gpu: NullGpu) {
    super();
    this.lost = new Promise((resolve) => {
      this.#resolveLost = resolve;
    });
  }

  tell(call: GpuCall, label: string): void {
    this.gpu.onCall(call, label, this);
  }

  /** Calls that wait fail at once, and the loss is told later: the order in which it says least. */
  lose(message = 'The driver was reset.'): void {
    this.isLost = true;
    setTimeout(() => this.#resolveLost({ reason: 'unknown', message }), 2);
  }

  /** Reports an error to the innermost scope for it, or else to the page. */
  report(filter: 'out-of-memory' | 'validation', message: string): void {
    const scope = this.#scopes.findLast((other) => other.filter === filter);
    if (scope) scope.message ??= message;
    else {
      const error = new (filter === 'validation' ? Error : GPUOutOfMemoryError)(message);
      this.dispatchEvent(Object.assign(new Event('uncapturederror'), { error }));
    }
  }

  pushErrorScope(filter: string): void {
    this.#scopes.push({ filter });
  }

  async popErrorScope(): Promise<{ message: string } | null> {
    const { message } = this.#scopes.pop() ?? {};
    return message === undefined ? null : { message };
  }

  createBuffer({ label = '', size }: { label?: string; size: number }): NullBuffer {
    this.tell('createBuffer', label);
    return new NullBuffer(this, label, size);
  }

  createShaderModule = () => ({ getCompilationInfo: async () => ({ messages: [] }) });
  createBindGroupLayout = ({ entries }: { entries: object[] }) => ({ entries });
  createPipelineLayout = () => ({});
  createQuerySet = () => ({ destroy() {} });

  async createComputePipelineAsync({ label = '' }: { label?: string }): Promise<object> {
    this.tell('createComputePipelineAsync', label);
    await nextTurn();
    return { label };
  }

  createBindGroup = ({ entries }: { entries: { resource: { buffer: NullBuffer } }[] }) =>
    entries.map(({ resource }) => resource.buffer);

  createCommandEncoder({ label = '' }: { label?: string } = {}) {
    const commands: Command[] = [];
    return {
      beginComputePass: () => this.#pass(commands),
      copyBufferToBuffer: (
        from: NullBuffer,
        at: number,
        to: NullBuffer,
        toAt: number,
        size: number,
      ) => commands.push(() => to.contents.set(from.contents.subarray(at, at + size), toAt)),
      clearBuffer: (buffer: NullBuffer, from = 0, size = buffer.size - from) =>
        commands.push(() => buffer.contents.fill(0, from, from + size)),
      resolveQuerySet: (_: object, first: number, count: number, to: NullBuffer) =>
        commands.push(() => {
          const ticks = new BigUint64Array(to.contents.buffer);
          for (let i = 0; i < count; i++) ticks[i] = BigInt((first + i) * 1_000_000);
        }),
      finish: () => ({ label, commands }),
    };
  }

  #pass(commands: Command[]) {
    let kernel = '';
    let buffers: NullBuffer[] = [];
    return {
      setPipeline: ({ label }: { label: string }) => {
        kernel = label;
      },
      setBindGroup: (_: number, group: NullBuffer[]) => {
        buffers = group;
      },
      dispatchWorkgroups: () => {
        const [name, bound] = [kernel, buffers];
        commands.push(() => this.#run(name, bound));
      },
      end() {},
    };
  }

  #run(kernel: string, buffers: readonly NullBuffer[]): void {
    const named = (name: string) => buffers.find(({ label }) => label === name)?.contents;
    const [scaler, sums] = [named('scaler'), named('sums')];
    if (kernel === 'loss_scaler' && scaler) apply(scaler);
    if (kernel === 'column_sum' && sums && this.gpu.diverges)
      new Float32Array(sums.buffer).fill(Number.NaN);
  }

  readonly queue = {
    writeBuffer: (
      to: NullBuffer,
      at: number,
      from: ArrayBuffer | Uint8Array,
      first = 0,
      count?: number,
    ) => {
      const each = ArrayBuffer.isView(from) ? from.BYTES_PER_ELEMENT : 1;
      const [buffer, start] = ArrayBuffer.isView(from) ? [from.buffer, from.byteOffset] : [from, 0];
      const bytes = count === undefined ? from.byteLength - first * each : count * each;
      to.contents.set(new Uint8Array(buffer, start + first * each, bytes), at);
    },
    submit: (all: { label: string; commands: Command[] }[]) => {
      for (const { label, commands } of all) {
        this.tell('submit', label);
        if (!this.isLost) for (const command of commands) command();
      }
    },
    // Some implementations resolve.
    onSubmittedWorkDone: async () => {
      await nextTurn();
      if (this.isLost) throw new DOMException('The device is lost.', 'OperationError');
    },
  };

  destroy(): void {
    this.lose('Device was destroyed.');
  }
}

/** What a browser calls the error of a full GPU. */
export class GPUOutOfMemoryError extends Error {}

/** A step's decision, as loss_scaler.wgsl writes it. */
function apply(bytes: Uint8Array<ArrayBuffer>): void {
  const before = SCALER.read(bytes.buffer, 0);
  const applied = before.applied + 1;
  bytes.set(
    new Uint8Array(SCALER.write({ ...before, applied, apply: 1, used_scale: before.scale })),
  );
}

/** What `navigator.gpu` is. */
export class NullGpu {
  devices: NullDevice[] = [];
  /** Refuses the adapter. */
  refuses = false;
  /** Losses are not numbers. */
  diverges = false;
  /** Sees each call before it is done. */
  onCall: (call: GpuCall, label: string, device: NullDevice) => void = () => {};

  requestAdapter = async () =>
    this.refuses
      ? null
      : {
          limits: LIMITS,
          features: new Set(FEATURES),
          info: { vendor: 'null', architecture: '', device: '', description: 'null (swiftshader)' },
          requestDevice: async () => {
            const device = new NullDevice(this);
            this.devices.push(device);
            return device;
          },
        };
}
