// A model's parameters in arenas. The weights are one after the other in an arena, the gradients in
// another, and so on, all by one plan: the optimiser is then one dispatch for each range, and a
// checkpoint one copy. An arena is one buffer, or several where one would be too large.

import { type Gpu, GpuError, READ_AT_ONCE } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
import type { Placement, Recorder, Tensor } from '../gpu/program';
import { fromHalf, toHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import type { Random } from '../tensor/random';

/**
 * Every tensor starts at a multiple of this many elements, which is 256 bytes in f16: the alignment
 * of a binding's offset.
 */
const ALIGNMENT = 128;

/**
 * A parameter's role. Weight decay applies to tables and matrices, not to norms and biases.
 * - embedding: the table (V, C) of token embeddings
 * - head: the head's own matrix (V, C), where it is not tied to the embedding
 * - position: the table of position embeddings
 * - matrix: a linear layer's weight
 * - router: the matrix (E, C) by which a layer chooses a token's experts
 * - expert: a matrix of one of a layer's experts
 * - norm: a normalisation's gain or shift
 * - bias: a linear layer's bias
 * - router_bias: what is added to a router's scores where experts are chosen; it has no gradient
 */
export type Role =
  | 'embedding'
  | 'head'
  | 'position'
  | 'matrix'
  | 'router'
  | 'expert'
  | 'norm'
  | 'bias'
  | 'router_bias';

/** Of the roles without weight decay; a graph in f16 keeps them in f32. */
export const isVector = (role: Role): boolean => ['norm', 'bias', 'router_bias'].includes(role);

/**
 * Initial values: normal with mean 0 and this standard deviation, uniform up to this magnitude, or
 * one value everywhere.
 */
export type Initial = { deviation: number } | { bound: number } | { value: number };

export interface Parameter {
  /** Dispatches are labelled by this name, and exported files derive their names from it. */
  readonly name: string;
  readonly role: Role;
  readonly shape: number[];
  readonly initial: Initial;
  /** Undefined for a parameter outside of the layers. */
  readonly layer?: number;
  /**
   * It lies directly behind the parameter before it, so that `Arena.joined` shows them as one: the
   * products with both are then one product.
   */
  readonly joined?: boolean;
  /** The dense model's parameter that an expert's is a copy of when experts are made of one. */
  readonly copyOf?: string;
}

const isDecayed = ({ role }: Parameter) => !isVector(role);
/** Kernels take a matrix (V, C) in runs of rows; every other tensor needs a single binding. */
const isBoundInRuns = (role: Role) => role === 'embedding' || role === 'head';

export interface Plan {
  /** Elements, with the gaps between tensors. */
  count: number;
  /** Weight decay applies to this many elements, the first ones. */
  decayed: number;
  /** Elements without the gaps. */
  parameters: number;
  /** Elements of each buffer of an arena, in order. No tensor spans two buffers. */
  bufferSizes: number[];
  tensors: Map<string, { shape: number[]; role: Role; first: number; size: number }>;
  /** Joined tensors as one, and every other tensor: what kernels bind. */
  bindings: { name: string; role: Role; size: number }[];
}

/**
 * Places each parameter in its arenas. No buffer of an f32 arena exceeds `limit` bytes, unless a
 * single tensor does.
 * @throws Error if a parameter with weight decay follows one without
 */
export function planArena(
  parameters: readonly Parameter[],
  limit = Number.POSITIVE_INFINITY,
): Plan {
  const plan: Plan = {
    count: 0,
    decayed: 0,
    parameters: 0,
    bufferSizes: [0],
    tensors: new Map(),
    bindings: [],
  };
  for (const group of groupsOf(parameters)) {
    const [{ name, role }] = group;
    let size = 0;
    for (const { name, role, shape } of group) {
      const first = plan.count + size;
      // Values are written in f16 as well, four bytes at a time.
      if (first % 2 !== 0)
        throw new Error(`${name} is joined to a parameter of odd size. Give it one of its own.`);
      const elements = shape.reduce((a, b) => a * b);
      plan.tensors.set(name, { shape, role, first, size: elements });
      size += elements;
    }
    plan.bindings.push({ name, role, size });
    const room = Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    const last = plan.bufferSizes.length - 1;
    if (plan.bufferSizes[last] > 0 && (plan.bufferSizes[last] + room) * 4 > limit)
      plan.bufferSizes.push(room);
    else plan.bufferSizes[last] += room;
    if (isDecayed(group[0])) {
      if (plan.decayed < plan.count)
        throw new Error(
          `${name} has weight decay and follows a parameter without. List those with it first.`,
        );
      plan.decayed += room;
    }
    plan.count += room;
    plan.parameters += size;
  }
  return plan;
}

/** Each parameter with those that are joined to it. */
export function groupsOf(parameters: readonly Parameter[]): Parameter[][] {
  const groups: Parameter[][] = [];
  for (const parameter of parameters) {
    if (parameter.joined) groups.at(-1)?.push(parameter);
    else groups.push([parameter]);
  }
  return groups;
}

function requireAtMost(limit: number, bytes: number, what: string): void {
  if (bytes <= limit) return;
  const mib = (n: number) => `${(n / 2 ** 20).toFixed(1)} MiB`;
  const message = `${what} of ${mib(bytes)}; this adapter allows ${mib(limit)}.`;
  throw new GpuError('limits', message, 'Choose a smaller model.');
}

/** Matrices that are stored in fewer bits, and made to what a product reads when it does. */
export interface RoundedMatrices
  extends Pick<Arena, 'operand' | 'writeSlice' | 'readParameter' | 'destroy'> {
  readonly plan: Plan;
}

/** A value for each parameter, in f32 or f16; initially zeros. */
export class Arena {
  /** One for each buffer of the plan. */
  readonly places: Placement[];
  readonly #bytes: number;

  /** @throws GpuError if a buffer would exceed what the adapter allows */
  constructor(
    private readonly gpu: Gpu,
    readonly plan: Plan,
    readonly dtype: 'f16' | 'f32',
    purpose: Purpose,
    readonly label: string,
    /** The model's matrices, of which the arena then holds none. */
    readonly rounded?: RoundedMatrices,
  ) {
    this.#bytes = dtype === 'f16' ? 2 : 4;
    const sizes = plan.bufferSizes.map((count) => count * this.#bytes);
    requireAtMost(gpu.limits.buffer, Math.max(...sizes), `The model's ${label} need one buffer`);
    for (const { name, role, size } of plan.bindings) {
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

  has(name: string): boolean {
    return this.plan.tensors.has(name) || this.#isRounded(name);
  }

  #isRounded(name: string): boolean {
    return this.rounded?.plan.tensors.has(name) ?? false;
  }

  /** Parameters, those in fewer bits too. */
  get parameters(): number {
    return this.plan.parameters + (this.rounded?.plan.parameters ?? 0);
  }

  /** (rows, columns) of a matrix, however it is stored. @throws if there is none of this name */
  shape(name: string): readonly number[] {
    return (this.rounded?.plan.tensors.get(name) ?? this.#entry(name)).shape;
  }

  /**
   * Matrices that the next dispatch multiplies by, as one: joined, as `joined` takes them. Another
   * call may overwrite them.
   */
  operand(recorder: Recorder, names: readonly string[]): Tensor {
    const { rounded } = this;
    return rounded && this.#isRounded(names[0])
      ? rounded.operand(recorder, names)
      : this.joined(names);
  }

  /** The parameter as a tensor. */
  tensor(name: string): Tensor {
    return this.joined([name]);
  }

  /** The parameter as a tensor; undefined if the arena has no such parameter. */
  find(name: string): Tensor | undefined {
    return this.has(name) ? this.tensor(name) : undefined;
  }

  /**
   * Joined parameters as one tensor, the rows of each below those of the one before.
   * @param names all that are joined, in order
   */
  joined(names: readonly string[]): Tensor {
    const entries = names.map((name) => this.#entry(name));
    const [{ shape: firstShape, buffer, first }] = entries;
    const size = entries.reduce((sum, entry) => sum + entry.size, 0);
    const rows = entries.reduce((sum, { shape }) => sum + shape[0], 0);
    const shape = [rows, ...firstShape.slice(1)];
    const offset = first * this.#bytes;
    const shown = names.length > 3 ? `${names[0]} … ${names.at(-1)}` : names.join(' + ');
    const place = {
      ...this.places[buffer],
      label: `${this.label} ${shown}`,
      offset,
      bytes: size * this.#bytes,
    };
    return { layout: Layout.contiguous(shape), dtype: this.dtype, place };
  }

  /**
   * Writes a parameter's elements from `first` on. `first` must be even, and the length too, except
   * at the parameter's end.
   * @throws Error if the elements are not all the parameter's
   */
  writeSlice(name: string, first: number, values: Float32Array): void {
    if (this.#isRounded(name)) {
      this.rounded?.writeSlice(name, first, values);
      return;
    }
    const { buffer, size, first: start } = this.#entry(name);
    if (first % 2 !== 0 || first + values.length > size) {
      const end = first + values.length;
      throw new Error(
        `${this.label}: ${name} has ${size} elements; cannot write ${first} to ${end}.`,
      );
    }
    const { queue } = this.gpu.device;
    const at = start + first;
    if (this.dtype === 'f32') {
      queue.writeBuffer(this.buffers[buffer], at * 4, values as Float32Array<ArrayBuffer>);
      return;
    }
    // A write is a multiple of four bytes. An extra element falls into the gap before the next
    // tensor.
    const even = new Float32Array(Math.ceil(values.length / 2) * 2);
    even.set(values);
    queue.writeBuffer(this.buffers[buffer], at * 2, toHalf(even));
  }

  /** Writes every parameter. @throws if one is missing or has another size. */
  write(values: ReadonlyMap<string, Float32Array>): void {
    const tensors = [this.plan, this.rounded?.plan].flatMap((plan) => [...(plan?.tensors ?? [])]);
    for (const [name, { size }] of tensors) {
      const data = values.get(name);
      if (data?.length !== size)
        throw new Error(
          `${this.label}: ${name} has ${data?.length ?? 'no'} values; expected ${size}.`,
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

  /** One parameter's values, read back. Waits for the GPU. */
  async readParameter(name: string): Promise<Float32Array> {
    if (this.rounded && this.#isRounded(name)) return this.rounded.readParameter(name);
    const { buffer, first, size } = this.#entry(name);
    // A copy is a multiple of four bytes.
    const length = 4 * Math.ceil((size * this.#bytes) / 4);
    const bytes = await this.gpu.read(this.buffers[buffer], first * this.#bytes, length);
    if (this.dtype === 'f32') return new Float32Array(bytes);
    return fromHalf(new Uint16Array(bytes, 0, size));
  }

  /**
   * All bytes, buffer after buffer, for `restore`. Up to READ_AT_ONCE are as they were at the call,
   * as in `Gpu.read`.
   */
  async save(): Promise<ArrayBuffer> {
    if (this.buffers.length === 1) return this.gpu.read(this.buffers[0]);
    const all = new Uint8Array(this.plan.count * this.#bytes);
    const reads: Promise<void>[] = [];
    let offset = 0;
    for (const buffer of this.buffers) {
      const at = offset;
      offset += buffer.size;
      reads.push(this.gpu.read(buffer).then((part) => all.set(new Uint8Array(part), at)));
      if (all.length > READ_AT_ONCE) await reads.at(-1);
    }
    await Promise.all(reads);
    return all.buffer;
  }

  /** Writes the bytes that `save` returned. @throws if another model saved them */
  restore(bytes: ArrayBuffer): void {
    if (bytes.byteLength !== this.plan.count * this.#bytes) {
      throw new Error(
        `restore: the ${this.label} have ${this.plan.count * this.#bytes} bytes, ` +
          `the snapshot ${bytes.byteLength}. It is another model's.`,
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
    this.rounded?.destroy();
  }

  #entry(name: string) {
    const entry = this.plan.tensors.get(name);
    if (!entry) throw new Error(`${this.label}: no parameter ${name}.`);
    let { first } = entry;
    let buffer = 0;
    while (first >= this.plan.bufferSizes[buffer]) first -= this.plan.bufferSizes[buffer++];
    return { ...entry, first, buffer };
  }
}

/** Parameters as tensors: what a model computes with. */
export type ParameterTensors = Pick<
  Arena,
  'dtype' | 'has' | 'shape' | 'tensor' | 'find' | 'joined' | 'operand'
>;

/** The parameters of two arenas of one type. Joined ones lie in the same arena. */
export function bothArenas(first: Arena, second: Arena): ParameterTensors {
  const having = (name: string) => (first.has(name) ? first : second);
  return {
    dtype: first.dtype,
    has: (name) => having(name).has(name),
    shape: (name) => having(name).shape(name),
    tensor: (name) => having(name).tensor(name),
    find: (name) => having(name).find(name),
    joined: (names) => having(names[0]).joined(names),
    operand: (recorder, names) => having(names[0]).operand(recorder, names),
  };
}

/**
 * Receives a parameter's values from element `first` on: all of them, or slices of an even length
 * in any order.
 */
export type WeightSink = (
  name: string,
  first: number,
  values: Float32Array<ArrayBuffer>,
) => void | Promise<void>;

/** A model's weights, f32, by parameter name: in memory, or streamed slice by slice. */
export type Weights = ReadonlyMap<string, Float32Array> | ((sink: WeightSink) => Promise<void>);

/** Bytes that may wait for the GPU at a time; the browser holds a second copy of each. */
const UPLOAD_BYTES = 64 * 2 ** 20;

/**
 * Writes all weights into each of the arenas that has them; those that none has are skipped.
 * Without weights they stay zeros.
 * @throws Error if a parameter is missing
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
    const having = arenas.filter((arena) => arena.has(name));
    if (having.length === 0) return;
    for (const arena of having) arena.writeSlice(name, first, values);
    written += values.length;
    waiting += values.byteLength * having.length;
    if (waiting < UPLOAD_BYTES) return;
    waiting = 0;
    await gpu.idle();
  });
  const plans = new Map(arenas.map((arena) => [arena.plan, arena.parameters]));
  const parameters = [...plans.values()].reduce((sum, count) => sum + count, 0);
  if (written !== parameters)
    throw new Error(`fill: received ${written} weights; the model has ${parameters}.`);
}

/** Random initial values, drawn in the parameters' order. */
export function initialWeights(
  parameters: readonly Parameter[],
  random: Random,
): Map<string, Float32Array<ArrayBuffer>> {
  const values = new Map<string, Float32Array<ArrayBuffer>>();
  for (const { name, shape, initial } of parameters) {
    const data = new Float32Array(shape.reduce((a, b) => a * b));
    if ('value' in initial) data.fill(initial.value);
    else if ('bound' in initial)
      for (let i = 0; i < data.length; i++) data[i] = (2 * random.uniform() - 1) * initial.bound;
    else for (let i = 0; i < data.length; i++) data[i] = random.normal() * initial.deviation;
    values.set(name, data);
  }
  return values;
}

/** Weights, and random initial values for parameters that they lack. */
export function withNewWeights(
  weights: Weights,
  parameters: readonly Parameter[],
  random: Random,
): Weights {
  if (parameters.length === 0) return weights;
  const more = initialWeights(parameters, random);
  if (typeof weights !== 'function') return new Map([...weights, ...more]);
  return async (sink) => {
    await weights(sink);
    for (const [name, values] of more) await sink(name, 0, values);
  };
}

/**
 * A dispatch's label without the layer that it belongs to, so that equal dispatches of all layers
 * can be grouped. Families name what layer i holds `PREFIX.i.REST`, as transformers does.
 */
export const withoutLayer = (label: string): string => label.replace(/^[a-z_.]+\.\d+\./, '');
