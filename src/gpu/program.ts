// A Program: dispatches recorded once, replayed every step. Recording plans the buffers by their
// lifetimes and makes every pipeline, bind group and parameter buffer; replaying makes none. A
// Program can also be profiled and traced, dispatch by dispatch.

import { BYTES, type DType, fromHalf } from '../tensor/dtype';
import type { Layout } from '../tensor/layout';
import { checkFits, type Gpu, GpuError } from './device';
import type { Kernel } from './kernel';
import type { Purpose } from './memory';
import { requireSame } from './struct';

/**
 * Where a tensor is stored. Without a buffer it is an activation, placed when the Program is built.
 */
export interface Placement {
  label: string;
  bytes: number;
  buffer?: GPUBuffer;
  /** In bytes; a multiple of 256. */
  offset: number;
  purpose: Purpose;
}

/** A tensor on the GPU: its layout, its storage type and its place in memory. */
export interface Tensor {
  layout: Layout;
  dtype: DType;
  place: Placement;
}

/** A zeroed tensor that no Program shares or replaces. @throws GpuError if it fits no binding */
export function persistentTensor(
  gpu: Gpu,
  purpose: Purpose,
  label: string,
  layout: Layout,
  dtype: DType,
): Tensor {
  const bytes = layout.numel * BYTES[dtype];
  checkFits(gpu, label, bytes);
  return {
    layout,
    dtype,
    place: { label, bytes, buffer: gpu.memory.create(purpose, label, bytes), offset: 0, purpose },
  };
}

/** The buffer of a tensor that is persistent or part of a built Program. @throws otherwise */
export function bufferOf({ place }: Tensor): GPUBuffer {
  return bufferAt(place);
}

function bufferAt({ buffer, label }: Placement): GPUBuffer {
  if (!buffer)
    throw new Error(`${label} has no buffer yet; build the Program that makes it first.`);
  return buffer;
}

interface DispatchOptions extends Partial<DispatchCost> {
  /** The kernel's name by default. In layer 3 of a model it begins with `h.3.`. */
  label?: string;
}

type Params = Record<string, number>;
type Bound = Tensor | Placement | GPUBuffer;
export type Grid = [x: number, y?: number, z?: number];

/** The least that a dispatch must compute and move, whatever its kernel does. */
export interface DispatchCost {
  /**
   * Floating-point operations. A multiplication and an addition are two; an exponential or a
   * logarithm is one.
   */
  flops: number;
  /** Bytes read and written, each counted once. */
  bytes: number;
}

/** A dispatch and how long it took. */
export interface DispatchTime extends DispatchCost {
  kernel: string;
  label: string;
  nanoseconds: number;
}

/** What one of a dispatch's bindings held after it ran: see Program.trace. */
export interface TracedTensor {
  /** The kernel's name for it. */
  binding: string;
  /** The tensor's label. */
  label: string;
  /** Whether the kernel may write it. */
  written: boolean;
  /** In the order of its storage. A struct's or unknown contents are u32. */
  values: Float32Array | Uint32Array | Int32Array;
}

/** The first tensor with a NaN or an infinity, and the dispatch that wrote or read it. */
export interface NonFinite {
  kernel: string;
  label: string;
  /** The kernel's name for the tensor, and the tensor's label. */
  binding: string;
  tensor: string;
  /** Of the element, in the order of its storage. */
  index: number;
  value: number;
  /** False if no dispatch wrote it: it was so before the first. */
  written: boolean;
}

interface Dispatch {
  kernel: Kernel;
  label: string;
  cost: DispatchCost;
  bound: Map<string, Placement>;
  /** Activations that no earlier dispatch binds. */
  firstUses: Placement[];
  paramsOffset: number;
  grid: Grid;
  group?: GPUBindGroup;
}

/** Buffers for activations, shared by Programs of one device that never run at the same time. */
export class Pool {
  readonly buffers: GPUBuffer[] = [];
  /**
   * `purpose` counts all its buffers; by default each counts as the tensor that it was made for.
   */
  constructor(
    readonly gpu: Gpu,
    readonly purpose?: Purpose,
  ) {}
  destroy(): void {
    for (const buffer of this.buffers.splice(0)) this.gpu.memory.destroy(buffer);
  }
}

/** WebGPU's limit for a query set. */
const MOST_QUERIES = 4096;
/** The largest that minUniformBufferOffsetAlignment and minStorageBufferOffsetAlignment may be. */
const ALIGNMENT = 256;

export class Recorder {
  #dispatches: Dispatch[] = [];
  #params: { offset: number; kernel: Kernel; values: Params }[] = [];
  #paramBytes = 0;
  #constants: Tensor[] = [];

  constructor(
    readonly gpu: Gpu,
    private readonly pool: Pool,
  ) {}

  /** An activation. Its contents last from the first dispatch that binds it to the last. */
  tensor(label: string, layout: Layout, dtype: DType, purpose: Purpose = 'activations'): Tensor {
    return {
      layout,
      dtype,
      place: { label, bytes: layout.numel * BYTES[dtype], offset: 0, purpose },
    };
  }

  /** A tensor whose contents, f32, are known now. The Program owns it. */
  constant(label: string, layout: Layout, values: Float32Array<ArrayBuffer>): Tensor {
    const tensor = persistentTensor(this.gpu, 'data', label, layout, 'f32');
    this.gpu.device.queue.writeBuffer(bufferOf(tensor), 0, values);
    this.#constants.push(tensor);
    return tensor;
  }

  /**
   * Records one dispatch. `bound` has one entry for each of the kernel's bindings, `params` one for
   * each field of its Params. By default `flops` is 0 and `bytes` counts everything bound once.
   * @throws if a name is missing or unknown, or the grid exceeds the device's limit
   */
  dispatch(
    kernel: Kernel,
    bound: Record<string, Bound>,
    params: Params,
    grid: Grid,
    {
      label = kernel.name,
      flops = 0,
      bytes = bytesOf(...new Set(Object.values(bound))),
    }: DispatchOptions = {},
  ): void {
    const names = [...kernel.bindings.keys()].filter((name) => name !== 'params');
    requireSame(`Kernel ${kernel.name}: bindings`, names, Object.keys(bound));
    requireSame(
      `Kernel ${kernel.name}: params`,
      kernel.params.fields.map(({ name }) => name),
      Object.keys(params),
    );
    const limit = this.gpu.device.limits.maxComputeWorkgroupsPerDimension;
    if (grid.some((n) => !Number.isInteger(n) || (n as number) < 1 || (n as number) > limit)) {
      throw new Error(
        `Kernel ${kernel.name}: a grid of ${grid.join(' × ')} workgroups; ` +
          `each must be 1 to ${limit}.`,
      );
    }
    this.#params.push({ offset: this.#paramBytes, kernel, values: params });
    this.#dispatches.push({
      kernel,
      label,
      cost: { flops, bytes },
      bound: new Map(Object.entries(bound).map(([name, value]) => [name, placement(value)])),
      firstUses: [],
      paramsOffset: this.#paramBytes,
      grid,
    });
    this.#paramBytes += Math.ceil(kernel.params.bytes / ALIGNMENT) * ALIGNMENT;
  }

  /** Dispatches so far. */
  get length(): number {
    return this.#dispatches.length;
  }

  /**
   * `build`, without waiting for the kernels: memory is planned when this returns, and the order of
   * such calls is the order in which kernels are compiled.
   */
  begin(label: string): PendingProgram {
    return new PendingProgram(this.build(label));
  }

  /** Places the activations, compiles the kernels that are new and makes the bind groups. */
  async build(label: string): Promise<Program> {
    this.#place();
    const { device, memory } = this.gpu;
    const params = memory.create(
      'data',
      `${label} params`,
      this.#paramBytes,
      GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    );
    device.queue.writeBuffer(params, 0, this.#packParams());
    await Promise.all([...new Set(this.#dispatches.map((d) => d.kernel))].map((k) => k.ready));
    for (const dispatch of this.#dispatches) dispatch.group = this.#bind(dispatch, params);
    return new Program(this.gpu, label, this.#dispatches, [
      params,
      ...this.#constants.map(bufferOf),
    ]);
  }

  /**
   * Gives each activation the smallest free buffer that holds it. Buffers are shared whole: WebGPU
   * lets no dispatch read one range of a buffer and write another.
   */
  #place(): void {
    const last = new Map<Placement, number>();
    this.#dispatches.forEach(({ bound }, i) => {
      for (const place of bound.values()) if (!place.buffer) last.set(place, i);
    });
    const free = [...this.pool.buffers];
    this.#dispatches.forEach(({ bound, firstUses }, i) => {
      const places = [...new Set(bound.values())];
      for (const place of places) {
        if (place.buffer) continue;
        firstUses.push(place);
        const fitting = free
          .filter((b) => b.size >= place.bytes)
          .sort((a, b) => a.size - b.size)[0];
        if (fitting) free.splice(free.indexOf(fitting), 1);
        place.buffer = fitting ?? this.#grow(place);
      }
      for (const place of places)
        if (place.buffer && last.get(place) === i) free.push(place.buffer);
    });
  }

  #grow(place: Placement): GPUBuffer {
    checkFits(this.gpu, place.label, place.bytes);
    const buffer = this.gpu.memory.create(
      this.pool.purpose ?? place.purpose,
      `pool ${this.pool.buffers.length} (${place.label})`,
      place.bytes,
    );
    this.pool.buffers.push(buffer);
    return buffer;
  }

  #packParams(): ArrayBuffer {
    const view = new DataView(new ArrayBuffer(this.#paramBytes));
    for (const { offset, kernel, values } of this.#params)
      kernel.params.writeInto(view, offset, values);
    return view.buffer;
  }

  #bind({ kernel, bound, paramsOffset }: Dispatch, params: GPUBuffer): GPUBindGroup {
    const entries: GPUBindGroupEntry[] = [];
    for (const [name, { index }] of kernel.bindings) {
      const place = bound.get(name);
      entries.push({
        binding: index,
        resource: place
          ? {
              buffer: place.buffer as GPUBuffer,
              offset: place.offset,
              size: Math.ceil(place.bytes / 4) * 4,
            }
          : {
              buffer: params,
              offset: paramsOffset,
              size: Math.ceil(kernel.params.bytes / 16) * 16,
            },
      });
    }
    return this.gpu.device.createBindGroup({ label: kernel.name, layout: kernel.layout, entries });
  }
}

/** A Program whose kernels may still be compiling. */
export class PendingProgram {
  #built?: Program;

  constructor(readonly ready: Promise<Program>) {
    // Whoever runs the program awaits `ready`; until then a failure must not count as unhandled.
    ready.then(
      (program) => {
        this.#built = program;
      },
      () => undefined,
    );
  }

  /** Frees the program, now or once it is built. */
  destroy(): void {
    if (this.#built) this.#built.destroy();
    else
      this.ready.then(
        (program) => program.destroy(),
        () => undefined,
      );
  }
}

export class Program {
  constructor(
    private readonly gpu: Gpu,
    readonly label: string,
    private readonly dispatches: readonly Dispatch[],
    /** What is destroyed with it: parameters and constants. */
    private readonly owned: readonly GPUBuffer[],
  ) {}

  get length(): number {
    return this.dispatches.length;
  }

  /** The kernels that it runs, each once, in the order of their first dispatches. */
  get kernels(): Kernel[] {
    return [...new Set(this.dispatches.map(({ kernel }) => kernel))];
  }

  /** Appends dispatches `first` to `end` − 1 to the encoder, in one pass; all by default. */
  encode(encoder: GPUCommandEncoder, first = 0, end = this.length): void {
    const pass = encoder.beginComputePass({ label: this.label });
    for (let i = first; i < end; i++) run(pass, this.dispatches[i]);
    pass.end();
  }

  /**
   * Runs once and times each dispatch, in a submission of its own, by timestamps.
   * @throws GpuError without timestamp-query
   */
  async profile(): Promise<DispatchTime[]> {
    if (!this.gpu.device.features.has('timestamp-query')) {
      throw new GpuError(
        'limits',
        `Profiling ${this.label} needs the timestamp-query feature, which this adapter lacks.`,
        'Chrome and Edge have it on most machines; a newer graphics driver may add it.',
      );
    }
    const times: DispatchTime[] = [];
    for (let first = 0; first < this.dispatches.length; first += MOST_QUERIES / 2) {
      times.push(...(await this.#time(this.dispatches.slice(first, first + MOST_QUERIES / 2))));
    }
    return times;
  }

  /**
   * Runs up to the first dispatch with this label, or a later one by its `occurrence` from 0, and
   * reads what each of its storage bindings holds then. What these dispatches accumulate is added
   * once more: save and restore what the run must keep.
   * @throws if there is no such dispatch
   */
  async trace(label: string, occurrence = 0): Promise<TracedTensor[]> {
    const matches = this.dispatches.filter((dispatch) => dispatch.label === label);
    const last = this.dispatches.indexOf(matches[occurrence]);
    if (last < 0) {
      const labels = [...new Set(this.dispatches.map((dispatch) => dispatch.label))];
      throw new Error(
        `${this.label} has ${matches.length} dispatches "${label}", not ${occurrence + 1}. ` +
          `Its labels: ${labels.join(', ')}.`,
      );
    }
    for (let i = 0; i <= last; i++) this.#runFresh(i);
    const { kernel, bound } = this.dispatches[last];
    const traced: TracedTensor[] = [];
    for (const [binding, { type, element }] of kernel.bindings) {
      if (type === 'uniform') continue;
      const place = bound.get(binding) as Placement;
      const values = numbersOf(await this.#read(place), element);
      traced.push({ binding, label: place.label, written: type === 'storage', values });
    }
    return traced;
  }

  /**
   * Runs dispatch by dispatch to the first that leaves a NaN or an infinity in a float tensor that
   * it may write, and finds it there or in what that dispatch read. Slow, since it reads each of
   * them. Accumulates as `trace` does.
   */
  async firstNonFinite(): Promise<NonFinite | undefined> {
    for (const [i, dispatch] of this.dispatches.entries()) {
      this.#runFresh(i);
      const output = await this.#nonFiniteIn(dispatch, 'storage');
      // What an earlier dispatch wrote is finite, so a bad input comes from outside.
      if (output) return (await this.#nonFiniteIn(dispatch, 'read-only-storage')) ?? output;
    }
    return undefined;
  }

  /** The first number that is not finite in a dispatch's float tensors that are bound like this. */
  async #nonFiniteIn(
    { kernel, label, bound }: Dispatch,
    access: 'storage' | 'read-only-storage',
  ): Promise<NonFinite | undefined> {
    for (const [binding, { type, element }] of kernel.bindings) {
      if (type !== access || !(element === 'f32' || element === 'f16')) continue;
      const place = bound.get(binding) as Placement;
      const bytes = await this.#read(place);
      const index = nonFiniteIndex(bytes, element);
      if (index < 0) continue;
      const value = numbersOf(bytes, element)[index];
      const written = access === 'storage';
      return { kernel: kernel.name, label, binding, tensor: place.label, index, value, written };
    }
    return undefined;
  }

  /**
   * Runs a dispatch whose new activations are zeroed, so that they hold nothing of other tensors.
   */
  #runFresh(i: number): void {
    const encoder = this.gpu.device.createCommandEncoder();
    for (const place of this.dispatches[i].firstUses)
      encoder.clearBuffer(bufferAt(place), 0, Math.ceil(place.bytes / 4) * 4);
    this.encode(encoder, i, i + 1);
    this.gpu.device.queue.submit([encoder.finish()]);
  }

  async #read(place: Placement): Promise<ArrayBuffer> {
    const size = Math.ceil(place.bytes / 4) * 4;
    return (await this.gpu.read(bufferAt(place), place.offset, size)).slice(0, place.bytes);
  }

  async #time(dispatches: readonly Dispatch[]): Promise<DispatchTime[]> {
    const { device, memory } = this.gpu;
    const count = 2 * dispatches.length;
    const querySet = device.createQuerySet({ type: 'timestamp', count });
    const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
    const resolved = memory.create('metrics', 'timestamps', 8 * count, usage);
    const submit = (record: (encoder: GPUCommandEncoder) => void) => {
      const encoder = device.createCommandEncoder();
      record(encoder);
      device.queue.submit([encoder.finish()]);
    };
    for (const [i, dispatch] of dispatches.entries()) {
      const timestampWrites = {
        querySet,
        beginningOfPassWriteIndex: 2 * i,
        endOfPassWriteIndex: 2 * i + 1,
      };
      submit((encoder) => {
        const pass = encoder.beginComputePass({ label: dispatch.label, timestampWrites });
        run(pass, dispatch);
        pass.end();
      });
    }
    submit((encoder) => encoder.resolveQuerySet(querySet, 0, count, resolved, 0));
    const times = new BigUint64Array(await this.gpu.read(resolved));
    memory.destroy(resolved);
    querySet.destroy();
    return dispatches.map(({ kernel: { name }, label, cost }, i) => {
      const nanoseconds = Number(times[2 * i + 1] - times[2 * i]);
      return { kernel: name, label, ...cost, nanoseconds };
    });
  }

  destroy(): void {
    for (const buffer of this.owned) this.gpu.memory.destroy(buffer);
  }
}

/** Bytes of these; of a tensor, those that its layout reaches, repeated ones counted once. */
export function bytesOf(...all: Bound[]): number {
  return all.reduce((sum, bound) => {
    if ('size' in bound) return sum + bound.size;
    if ('bytes' in bound) return sum + bound.bytes;
    const { shape, strides } = bound.layout;
    return (
      sum +
      shape.reduce(
        (count, size, d) => (strides[d] === 0 ? count : count * size),
        BYTES[bound.dtype],
      )
    );
  }, 0);
}

/** By its bits, since a compiler may assume that no number is NaN. -1 if all are finite. */
function nonFiniteIndex(bytes: ArrayBuffer, element: 'f32' | 'f16'): number {
  return element === 'f32'
    ? new Uint32Array(bytes).findIndex((bits) => (bits & 0x7f800000) === 0x7f800000)
    : new Uint16Array(bytes).findIndex((bits) => (bits & 0x7c00) === 0x7c00);
}

function numbersOf(bytes: ArrayBuffer, element?: DType): Float32Array | Uint32Array | Int32Array {
  if (element === 'f32') return new Float32Array(bytes);
  if (element === 'f16') return fromHalf(new Uint16Array(bytes));
  return element === 'i32' ? new Int32Array(bytes) : new Uint32Array(bytes);
}

function run(
  pass: GPUComputePassEncoder,
  { kernel, group, grid: [x, y = 1, z = 1] }: Dispatch,
): void {
  pass.setPipeline(kernel.pipeline);
  pass.setBindGroup(0, group as GPUBindGroup);
  pass.dispatchWorkgroups(x, y, z);
}

function placement(bound: Bound): Placement {
  if ('place' in bound) return bound.place;
  if ('bytes' in bound) return bound;
  return { label: bound.label, bytes: bound.size, buffer: bound, offset: 0, purpose: 'data' };
}
