// A model's parameters in arenas: the weights one behind the other, the gradients likewise and so
// on, all of one plan, so that the optimiser is a dispatch a range and a checkpoint a copy. An
// arena is one buffer, or several where one would be too large.

import { type Gpu, GpuError } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
import type { Placement, Tensor } from '../gpu/program';
import { toHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import type { Random } from '../tensor/random';

/**
 * Every tensor starts at a multiple of this many elements: 256 bytes in f16, which a binding's
 * offset must be.
 */
const ALIGNMENT = 128;

/**
 * A parameter's role. Weight decay applies to tables and matrices, not to `norm` and `bias`.
 * - embedding: the table (V, C) of token embeddings
 * - head: the head's own matrix (V, C), where it is not tied to the embedding
 * - position: the table of position embeddings
 * - matrix: a linear layer's weight
 * - norm: a normalisation's gain or shift
 * - bias: a linear layer's bias
 */
export type Role = 'embedding' | 'head' | 'position' | 'matrix' | 'norm' | 'bias';

/** Initial values: normal with mean 0 and this standard deviation, or one value everywhere. */
export type Initial = { deviation: number } | { value: number };

export interface Parameter {
  /** Its name, which dispatches and exported files carry too. */
  readonly name: string;
  readonly role: Role;
  readonly shape: number[];
  readonly initial: Initial;
  /** The layer that it belongs to; undefined outside of layers. */
  readonly layer?: number;
}

const isDecayed = ({ role }: Parameter) => role !== 'norm' && role !== 'bias';
/** Kernels take a matrix (V, C) in runs of rows; every other tensor needs a single binding. */
const isBoundInRuns = (role: Role) => role === 'embedding' || role === 'head';

export interface Plan {
  /** Elements, with the gaps between tensors. */
  count: number;
  /** Weight decay applies to this many elements, the first ones. */
  decayed: number;
  /** Numbers that are learnt, without the gaps. */
  parameters: number;
  /** Elements of each buffer of an arena, in order. No tensor lies in two. */
  parts: number[];
  tensors: Map<string, { shape: number[]; role: Role; first: number; size: number }>;
}

/**
 * Where each parameter lies in its arenas, in elements. No buffer of an f32 arena exceeds `limit`
 * bytes unless a single tensor does.
 * @throws Error if a parameter with weight decay follows one without
 */
export function planArena(
  parameters: readonly Parameter[],
  limit = Number.POSITIVE_INFINITY,
): Plan {
  const plan: Plan = { count: 0, decayed: 0, parameters: 0, parts: [0], tensors: new Map() };
  for (const parameter of parameters) {
    const { name, role, shape } = parameter;
    const size = shape.reduce((a, b) => a * b);
    const room = Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    const last = plan.parts.length - 1;
    if (plan.parts[last] > 0 && (plan.parts[last] + room) * 4 > limit) plan.parts.push(room);
    else plan.parts[last] += room;
    plan.tensors.set(name, { shape, role, first: plan.count, size });
    if (isDecayed(parameter)) {
      if (plan.decayed < plan.count)
        throw new Error(`${name} has weight decay, and follows a parameter that has none.`);
      plan.decayed += room;
    }
    plan.count += room;
    plan.parameters += size;
  }
  return plan;
}

function requireAtMost(limit: number, bytes: number, what: string): void {
  if (bytes <= limit) return;
  const mib = (n: number) => `${(n / 2 ** 20).toFixed(1)} MiB`;
  const message = `${what} of ${mib(bytes)}; this adapter allows ${mib(limit)}.`;
  throw new GpuError('limits', message, 'Choose a smaller model.');
}

/** A value for each parameter, in f32 or f16; zeros at first. */
export class Arena {
  /** One a part of the plan. */
  readonly places: Placement[];
  readonly #bytes: number;

  /** @throws GpuError if a buffer would exceed what the adapter allows */
  constructor(
    private readonly gpu: Gpu,
    readonly plan: Plan,
    readonly dtype: 'f16' | 'f32',
    purpose: Purpose,
    readonly label: string,
  ) {
    this.#bytes = dtype === 'f16' ? 2 : 4;
    const sizes = plan.parts.map((count) => count * this.#bytes);
    requireAtMost(gpu.limits.buffer, Math.max(...sizes), `The model's ${label} need one buffer`);
    for (const [name, { role, size }] of plan.tensors) {
      if (!isBoundInRuns(role))
        requireAtMost(gpu.limits.binding, size * this.#bytes, `${name} needs one binding`);
    }
    this.places = sizes.map((bytes, i) => {
      const name = sizes.length > 1 ? `${label} ${i}` : label;
      return {
        label: name,
        bytes,
        buffer: gpu.memory.create(purpose, name, bytes),
        offset: 0,
        purpose,
      };
    });
  }

  get buffers(): GPUBuffer[] {
    return this.places.map(({ buffer }) => buffer as GPUBuffer);
  }

  /** The parameter as a tensor of its own shape. */
  tensor(name: string): Tensor {
    const { shape, size, part, first } = this.#entry(name);
    const offset = first * this.#bytes;
    const place = {
      ...this.places[part],
      label: `${this.label} ${name}`,
      offset,
      bytes: size * this.#bytes,
    };
    return { layout: Layout.contiguous(shape), dtype: this.dtype, place };
  }

  /**
   * Writes a parameter's elements from `first` on; `first` is even, and so is the length unless the
   * parameter ends.
   */
  writeSlice(name: string, first: number, values: Float32Array): void {
    const { part, size, first: start } = this.#entry(name);
    if (first % 2 !== 0 || first + values.length > size) {
      const end = first + values.length;
      throw new Error(
        `${this.label}: ${name} has ${size} elements; cannot write ${first} to ${end}.`,
      );
    }
    const { queue } = this.gpu.device;
    const at = start + first;
    if (this.dtype === 'f32') {
      queue.writeBuffer(this.buffers[part], at * 4, values as Float32Array<ArrayBuffer>);
      return;
    }
    // A write is a multiple of four bytes; what is too much falls into the gap before the next
    // tensor.
    const even = new Float32Array(Math.ceil(values.length / 2) * 2);
    even.set(values);
    queue.writeBuffer(this.buffers[part], at * 2, toHalf(even));
  }

  /** Writes every parameter. @throws if one is missing or has another size. */
  write(values: ReadonlyMap<string, Float32Array>): void {
    for (const [name, { size }] of this.plan.tensors) {
      const data = values.get(name);
      if (data?.length !== size)
        throw new Error(
          `${this.label}: ${name} has ${data?.length ?? 'no'} numbers, want ${size}.`,
        );
      this.writeSlice(name, 0, data);
    }
  }

  /** Every parameter, read back; f32 arenas only. Waits for the GPU. */
  async read(): Promise<Map<string, Float32Array>> {
    if (this.dtype !== 'f32')
      throw new Error(`${this.label} are f16; read the master weights instead.`);
    const all = new Float32Array(await this.save());
    return new Map(
      [...this.plan.tensors].map(([name, { first, size }]) => [
        name,
        all.slice(first, first + size),
      ]),
    );
  }

  /** One parameter, read back; f32 arenas only. Waits for the GPU. */
  async readParameter(name: string): Promise<Float32Array> {
    if (this.dtype !== 'f32')
      throw new Error(`${this.label} are f16; read the master weights instead.`);
    const { part, first, size } = this.#entry(name);
    return new Float32Array(await this.gpu.read(this.buffers[part], first * 4, size * 4));
  }

  /** All bytes, part after part, for `restore`. Waits for the GPU. */
  async save(): Promise<ArrayBuffer> {
    const all = new Uint8Array(this.plan.count * this.#bytes);
    let offset = 0;
    for (const buffer of this.buffers) {
      all.set(new Uint8Array(await this.gpu.read(buffer)), offset);
      offset += buffer.size;
    }
    return all.buffer;
  }

  /** Puts back what `save` gave. @throws if its size is another model's. */
  restore(bytes: ArrayBuffer): void {
    if (bytes.byteLength !== this.plan.count * this.#bytes) {
      throw new Error(
        `restore: the ${this.label} have ${this.plan.count * this.#bytes} bytes, the snapshot ${bytes.byteLength}. It is of another model.`,
      );
    }
    let offset = 0;
    for (const buffer of this.buffers) {
      this.gpu.device.queue.writeBuffer(buffer, 0, bytes, offset, buffer.size);
      offset += buffer.size;
    }
  }

  clear(encoder: GPUCommandEncoder): void {
    for (const buffer of this.buffers) encoder.clearBuffer(buffer);
  }

  destroy(): void {
    for (const buffer of this.buffers) this.gpu.memory.destroy(buffer);
  }

  #entry(name: string) {
    const entry = this.plan.tensors.get(name);
    if (!entry) throw new Error(`${this.label}: no parameter ${name}.`);
    let { first } = entry;
    let part = 0;
    while (first >= this.plan.parts[part]) first -= this.plan.parts[part++];
    return { ...entry, first, part };
  }
}

/**
 * Takes a parameter's values from element `first` on: whole parameters, or slices of an even length
 * in any order.
 */
export type WeightSink = (
  name: string,
  first: number,
  values: Float32Array<ArrayBuffer>,
) => void | Promise<void>;

/**
 * A model's weights: in memory, or given slice by slice by whoever reads them. f32, by Hugging Face
 * name.
 */
export type Weights = ReadonlyMap<string, Float32Array> | ((sink: WeightSink) => Promise<void>);

/** Bytes that may wait for the GPU at once: each of them is held a second time by the browser. */
const UPLOAD_BYTES = 64 * 2 ** 20;

/**
 * Writes all weights into each of the arenas, which have one plan. Without weights they stay zeros.
 */
export async function fill(
  gpu: Gpu,
  arenas: readonly Arena[],
  weights: Weights | undefined,
): Promise<void> {
  if (!weights) return;
  if (typeof weights !== 'function') {
    for (const arena of arenas) arena.write(weights);
    return;
  }
  let [written, waiting] = [0, 0];
  await weights(async (name, first, values) => {
    for (const arena of arenas) arena.writeSlice(name, first, values);
    written += values.length;
    waiting += values.byteLength * arenas.length;
    if (waiting < UPLOAD_BYTES) return;
    waiting = 0;
    await gpu.device.queue.onSubmittedWorkDone();
  });
  const { parameters } = arenas[0].plan;
  if (written !== parameters)
    throw new Error(`fill: ${written} weights were given, the model has ${parameters}.`);
}

/** Random initial values, drawn in the parameters' order. */
export function initialWeights(
  parameters: readonly Parameter[],
  random: Random,
): Map<string, Float32Array> {
  const values = new Map<string, Float32Array>();
  for (const { name, shape, initial } of parameters) {
    const data = new Float32Array(shape.reduce((a, b) => a * b));
    if ('value' in initial) data.fill(initial.value);
    else for (let i = 0; i < data.length; i++) data[i] = random.normal() * initial.deviation;
    values.set(name, data);
  }
  return values;
}

/**
 * A dispatch's label without the layer that it belongs to, so that equal dispatches of all layers
 * can be grouped. Families name what layer i holds `PREFIX.i.REST`, as transformers does.
 */
export const withoutLayer = (label: string): string => label.replace(/^[a-z_.]+\.\d+\./, '');
