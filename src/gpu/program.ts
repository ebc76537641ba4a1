// A Program: dispatches recorded once, replayed every step. Recording plans the buffers by their
// lifetimes and makes every pipeline, bind group and parameter buffer; replaying makes none.

import { BYTES, type DType } from '../tensor/dtype';
import type { Layout } from '../tensor/layout';
import { checkFits, type Gpu, GpuError } from './device';
import type { Kernel } from './kernel';
import type { Purpose } from './memory';
import { requireSame } from './struct';

/** Where a tensor lies. Without a buffer it is an activation, placed when the Program is built. */
export interface Placement {
  label: string;
  bytes: number;
  buffer?: GPUBuffer;
  /** In bytes; a multiple of 256. */
  offset: number;
  purpose: Purpose;
}

/** A tensor on the GPU: how it is laid out, what it holds and where it lies. */
export interface Tensor {
  layout: Layout;
  dtype: DType;
  place: Placement;
}

/** A tensor with a buffer of its own, zeroed, that outlives every Program. */
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

/** The buffer of a tensor that has one: persistent, or part of a built Program. */
export function bufferOf({ place }: Tensor): GPUBuffer {
  if (!place.buffer)
    throw new Error(`${place.label} has no buffer yet; build the Program that makes it first.`);
  return place.buffer;
}

interface DispatchOptions extends Partial<DispatchCost> {
  /** The kernel's name unless given. A label of layer 3 begins with `h.3.`. */
  label?: string;
}

type Params = Record<string, number>;
type Bound = Tensor | Placement | GPUBuffer;
export type Grid = [x: number, y?: number, z?: number];

/** What a dispatch has to do, however its kernel goes about it. */
export interface DispatchCost {
  /**
   * Floating-point operations. A multiplication with an addition is two, an exponential or a
   * logarithm one.
   */
  flops: number;
  /** Bytes that must move: what is read, once, and what is written, once. */
  bytes: number;
}

/** A dispatch and how long it took. */
export interface DispatchTime extends DispatchCost {
  kernel: string;
  label: string;
  nanoseconds: number;
}

interface Dispatch {
  kernel: Kernel;
  label: string;
  cost: DispatchCost;
  bound: Map<string, Placement>;
  paramsOffset: number;
  grid: Grid;
  group?: GPUBindGroup;
}

/**
 * Physical buffers that several Programs of one device share, because they never run at the same
 * time.
 */
export class Pool {
  readonly buffers: GPUBuffer[] = [];
  /**
   * `purpose`: what its buffers count as; that of the tensor that each was made for, unless given.
   */
  constructor(
    readonly gpu: Gpu,
    readonly purpose?: Purpose,
  ) {}
  destroy(): void {
    for (const buffer of this.buffers.splice(0)) this.gpu.memory.destroy(buffer);
  }
}

const MOST_QUERIES = 4096; // WebGPU's limit of a query set
const ALIGNMENT = 256; // minUniformBufferOffsetAlignment and minStorageBufferOffsetAlignment, at most

export class Recorder {
  #dispatches: Dispatch[] = [];
  #params: { offset: number; kernel: Kernel; values: Params }[] = [];
  #paramBytes = 0;

  constructor(
    readonly gpu: Gpu,
    private readonly pool: Pool,
  ) {}

  /** An activation that lives from its first dispatch to its last. */
  tensor(label: string, layout: Layout, dtype: DType, purpose: Purpose = 'activations'): Tensor {
    return {
      layout,
      dtype,
      place: { label, bytes: layout.numel * BYTES[dtype], offset: 0, purpose },
    };
  }

  /**
   * Records one dispatch. `bound` has one entry for each of the kernel's bindings, `params` one for
   * each field of its Params. Of its work, `flops` are 0 unless given, and `bytes` those of
   * everything bound, once.
   * @throws if a name is missing or unknown, or the grid exceeds the device's limit.
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
        `Kernel ${kernel.name}: a grid of ${grid.join(' × ')} workgroups; each must be 1 to ${limit}.`,
      );
    }
    this.#params.push({ offset: this.#paramBytes, kernel, values: params });
    this.#dispatches.push({
      kernel,
      label,
      cost: { flops, bytes },
      bound: new Map(Object.entries(bound).map(([name, value]) => [name, placement(value)])),
      paramsOffset: this.#paramBytes,
      grid,
    });
    this.#paramBytes += Math.ceil(kernel.params.bytes / ALIGNMENT) * ALIGNMENT;
  }

  /** Places the activations, compiles what is not compiled yet and makes the bind groups. */
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
    return new Program(this.gpu, label, this.#dispatches, params);
  }

  /**
   * First fit over whole buffers: one buffer may not be both read and written in a dispatch,
   * whatever the ranges.
   */
  #place(): void {
    const last = new Map<Placement, number>();
    this.#dispatches.forEach(({ bound }, i) => {
      for (const place of bound.values()) if (!place.buffer) last.set(place, i);
    });
    const free = [...this.pool.buffers];
    this.#dispatches.forEach(({ bound }, i) => {
      const here = [...new Set(bound.values())];
      for (const place of here) {
        if (place.buffer) continue;
        const fitting = free
          .filter((b) => b.size >= place.bytes)
          .sort((a, b) => a.size - b.size)[0];
        if (fitting) free.splice(free.indexOf(fitting), 1);
        place.buffer = fitting ?? this.#grow(place);
      }
      for (const place of here) if (place.buffer && last.get(place) === i) free.push(place.buffer);
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

export class Program {
  constructor(
    private readonly gpu: Gpu,
    readonly label: string,
    private readonly dispatches: readonly Dispatch[],
    private readonly params: GPUBuffer,
  ) {}

  get length(): number {
    return this.dispatches.length;
  }

  /**
   * Appends the dispatches from `first` up to `end` to the encoder, in one pass; all of them by
   * default.
   */
  encode(encoder: GPUCommandEncoder, first = 0, end = this.length): void {
    const pass = encoder.beginComputePass({ label: this.label });
    for (let i = first; i < end; i++) run(pass, this.dispatches[i]);
    pass.end();
  }

  /**
   * Runs once, each dispatch in a submission of its own between two timestamps. @throws GpuError
   * without timestamp-query
   */
  async profile(): Promise<DispatchTime[]> {
    if (!this.gpu.device.features.has('timestamp-query')) {
      throw new GpuError(
        'limits',
        `Profiling ${this.label} needs the timestamp-query feature, which this adapter lacks.`,
        'Chrome and Edge have it on most machines; a newer graphics driver may bring it.',
      );
    }
    const times: DispatchTime[] = [];
    for (let first = 0; first < this.dispatches.length; first += MOST_QUERIES / 2) {
      times.push(...(await this.#time(this.dispatches.slice(first, first + MOST_QUERIES / 2))));
    }
    return times;
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
    this.gpu.memory.destroy(this.params);
  }
}

/**
 * Bytes that lie in these, or of a tensor, that its layout reaches: what it repeats counts once.
 */
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
