// A model's parameters in arenas: one buffer for the weights, one for the gradients and so on, all of one plan, so that the
// optimiser is a dispatch a range and a checkpoint a copy.

import type { Gpu } from '../gpu/device';
import { checkFits } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
import type { Placement, Tensor } from '../gpu/program';
import { toHalf } from '../tensor/dtype';
import { Layout } from '../tensor/layout';
import type { Random } from '../tensor/random';
import { type Gpt2Config, parameterShapes } from './config';

/** Every tensor starts at a multiple of this many elements: 256 bytes in f16, which a binding's offset must be. */
const ALIGNMENT = 128;

export interface Plan {
  /** Elements, with the gaps between tensors. */
  count: number;
  /** The first so many belong to matrices, which get weight decay. */
  decayed: number;
  /** Numbers that are learnt, without the gaps. */
  parameters: number;
  tensors: Map<string, { shape: number[]; first: number; size: number }>;
}

/** Where each parameter of a GPT-2 lies in its arenas, in elements. */
export function planArena(config: Gpt2Config): Plan {
  const plan: Plan = { count: 0, decayed: 0, parameters: 0, tensors: new Map() };
  for (const { name, shape } of parameterShapes(config)) {
    const size = shape.reduce((a, b) => a * b);
    plan.tensors.set(name, { shape, first: plan.count, size });
    plan.count += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    plan.parameters += size;
    if (shape.length === 2) plan.decayed = plan.count;
  }
  return plan;
}

/** One buffer that holds a value for each parameter, in f32 or f16; zeros at first. */
export class Arena {
  readonly place: Placement;

  constructor(
    private readonly gpu: Gpu,
    readonly plan: Plan,
    readonly dtype: 'f16' | 'f32',
    purpose: Purpose,
    label: string,
  ) {
    const bytes = plan.count * (dtype === 'f16' ? 2 : 4);
    checkFits(gpu, `The model's ${label}`, bytes);
    this.place = { label, bytes, buffer: gpu.memory.create(purpose, label, bytes), offset: 0, purpose };
  }

  get buffer(): GPUBuffer {
    return this.place.buffer as GPUBuffer;
  }

  /** The parameter as a tensor of its own shape. */
  tensor(name: string): Tensor {
    const { shape, first, size } = this.#entry(name);
    const bytes = this.dtype === 'f16' ? 2 : 4;
    const place = { ...this.place, label: `${this.place.label} ${name}`, offset: first * bytes, bytes: size * bytes };
    return { layout: Layout.contiguous(shape), dtype: this.dtype, place };
  }

  /** Writes every parameter. @throws if one is missing or has another size. */
  write(values: ReadonlyMap<string, Float32Array>): void {
    for (const [name, { size }] of this.plan.tensors) {
      const data = values.get(name);
      if (data?.length !== size)
        throw new Error(`${this.place.label}: ${name} has ${data?.length ?? 'no'} numbers, want ${size}.`);
      this.writeSlice(name, 0, data);
    }
  }

  /** Writes a parameter's elements from `first` on; `first` is even, and so is the length unless the parameter ends. */
  writeSlice(name: string, first: number, values: Float32Array): void {
    const entry = this.#entry(name);
    if (first % 2 !== 0 || first + values.length > entry.size) {
      const end = first + values.length;
      throw new Error(`${this.place.label}: ${name} has ${entry.size} elements; cannot write ${first} to ${end}.`);
    }
    const { queue } = this.gpu.device;
    const at = entry.first + first;
    if (this.dtype === 'f32') {
      queue.writeBuffer(this.buffer, at * 4, values as Float32Array<ArrayBuffer>);
      return;
    }
    // A write is a multiple of four bytes; what is too much falls into the gap before the next tensor.
    const even = new Float32Array(Math.ceil(values.length / 2) * 2);
    even.set(values);
    queue.writeBuffer(this.buffer, at * 2, toHalf(even));
  }

  /** Every parameter, read back; f32 arenas only. Waits for the GPU. */
  async read(): Promise<Map<string, Float32Array>> {
    if (this.dtype !== 'f32') throw new Error(`${this.place.label} is f16; read the master weights instead.`);
    const all = new Float32Array(await this.gpu.read(this.buffer));
    return new Map([...this.plan.tensors].map(([name, { first, size }]) => [name, all.slice(first, first + size)]));
  }

  destroy(): void {
    this.gpu.memory.destroy(this.buffer);
  }

  #entry(name: string) {
    const entry = this.plan.tensors.get(name);
    if (!entry) throw new Error(`${this.place.label}: no parameter ${name}.`);
    return entry;
  }
}

/** Takes a parameter's values from element `first` on: whole parameters, or slices of an even length in any order. */
export type WeightSink = (name: string, first: number, values: Float32Array<ArrayBuffer>) => void | Promise<void>;

/** A model's weights: in memory, or given slice by slice by whoever reads them. f32, by Hugging Face name. */
export type Weights = ReadonlyMap<string, Float32Array> | ((sink: WeightSink) => Promise<void>);

/** Bytes that may wait for the GPU at once: each of them is held a second time by the browser. */
const UPLOAD_BYTES = 64 * 2 ** 20;

/** Writes all weights into each of the arenas, which have one plan. */
export async function fill(gpu: Gpu, arenas: readonly Arena[], weights: Weights): Promise<void> {
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
  if (written !== parameters) throw new Error(`fill: ${written} weights were given, the model has ${parameters}.`);
}

/**
 * GPT-2's initialisation: normal, output projections less by √(2·layers), LayerNorm 1 and 0, biases 0. Its deviation of 0.02 is for
 * a width of 768, and goes with 1/√width: much smaller embeddings would make the first LayerNorm multiply gradients by its large rstd.
 */
export function initialWeights(config: Gpt2Config, random: Random): Map<string, Float32Array> {
  const values = new Map<string, Float32Array>();
  const base = 0.02 * Math.sqrt(768 / config.n_embd);
  for (const { name, shape } of parameterShapes(config)) {
    const data = new Float32Array(shape.reduce((a, b) => a * b));
    if (shape.length === 2) {
      const deviation = name.endsWith('c_proj.weight') ? base / Math.sqrt(2 * config.n_layer) : base;
      for (let i = 0; i < data.length; i++) data[i] = random.normal() * deviation;
    } else if (/ln_\w+\.weight$/.test(name)) {
      data.fill(1);
    }
    values.set(name, data);
  }
  return values;
}
