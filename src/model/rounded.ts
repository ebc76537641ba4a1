// A frozen model's linear layers in 8 bits (tensor/int8.ts). A product reads its matrix from a
// buffer that a dispatch before it fills and the next product's fills again: of full weights the
// GPU holds one matrix at a time.

import { checkFits, type Gpu } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
import {
  bufferOf,
  type Placement,
  persistentTensor,
  type Recorder,
  type Tensor,
} from '../gpu/program';
import { fromInt8 } from '../kernels/int8';
import { BYTES } from '../tensor/dtype';
import { INT8_BLOCK, toInt8 } from '../tensor/int8';
import { Layout } from '../tensor/layout';
import type { Architecture } from './family';
import { Arena, type Plan, planArena, type RoundedMatrices } from './parameters';

/** A binding's offset is a multiple of so many bytes. */
const ALIGNMENT = 256;
/** A scale's bytes. */
const SCALE = 4;

/** The weights of an architecture that does not train, its linear layers in `linear`. */
export function frozenArena(
  gpu: Gpu,
  { parameters }: Architecture,
  dtype: 'f16' | 'f32',
  linear: 'full' | 'int8',
): Arena {
  const limit = gpu.limits.buffer;
  if (linear === 'full')
    return new Arena(gpu, planArena(parameters, limit), dtype, 'weights', 'frozen weights');
  const matrices = planArena(
    parameters.filter(({ role }) => role === 'matrix'),
    limit,
  );
  const others = planArena(
    parameters.filter(({ role }) => role !== 'matrix'),
    limit,
  );
  const rounded = new Int8Matrices(gpu, matrices, dtype, 'weights');
  return new Arena(gpu, others, dtype, 'weights', 'frozen weights', rounded);
}

/** A block of which not all values have come. */
interface Unfinished {
  values: Float32Array;
  missing: number;
}

class Int8Matrices implements RoundedMatrices {
  /** One of each for each buffer of the plan. */
  readonly #levels: GPUBuffer[];
  readonly #scales: GPUBuffer[];
  /** Holds any of the matrices, as the next product reads it. */
  readonly #operand: Tensor;
  readonly #unfinished = new Map<number, Unfinished>();

  constructor(
    private readonly gpu: Gpu,
    readonly plan: Plan,
    dtype: 'f16' | 'f32',
    private readonly purpose: Purpose,
  ) {
    const make = (label: string, bytes: (count: number) => number) =>
      plan.bufferSizes.map((count, i) =>
        gpu.memory.create(purpose, `frozen weights, ${label} ${i}`, bytes(count)),
      );
    this.#levels = make('int8', (count) => count);
    this.#scales = make('scales', (count) => (count / INT8_BLOCK) * SCALE);
    const largest = Math.max(...plan.bindings.map(({ size }) => size));
    const label = 'the matrix of the next product';
    this.#operand = persistentTensor(gpu, purpose, label, Layout.contiguous([largest]), dtype);
  }

  operand(recorder: Recorder, names: readonly string[]): Tensor {
    const entries = names.map((name) => this.#entry(name));
    const [{ buffer, first, shape }] = entries;
    const count = entries.reduce((sum, { size }) => sum + size, 0);
    const rows = entries.reduce((sum, entry) => sum + entry.shape[0], 0);
    const layout = Layout.contiguous([rows, ...shape.slice(1)]);
    const { dtype, place } = this.#operand;
    const bytes = count * BYTES[dtype];
    const w = { layout, dtype, place: { ...place, label: names.join(' + '), bytes } };
    const [levels, firstByte] = this.#window('int8', this.#levels[buffer], first, count);
    const [scales, firstScaleByte] = this.#window(
      'scales',
      this.#scales[buffer],
      (first / INT8_BLOCK) * SCALE,
      Math.ceil(count / INT8_BLOCK) * SCALE,
    );
    const matrix = { levels, scales, firstWord: firstByte / 4, firstScale: firstScaleByte / SCALE };
    fromInt8(recorder, matrix, w);
    return w;
  }

  /** A binding that holds so many bytes from `first` on, and where in it they begin. */
  #window(
    what: string,
    buffer: GPUBuffer,
    first: number,
    count: number,
  ): [place: Placement, first: number] {
    const offset = Math.floor(first / ALIGNMENT) * ALIGNMENT;
    const bytes = Math.ceil((first - offset + count) / 4) * 4;
    const label = `frozen weights, ${what}`;
    checkFits(this.gpu, label, bytes);
    return [{ label, bytes, buffer, offset, purpose: this.purpose }, first - offset];
  }

  writeSlice(name: string, first: number, values: Float32Array): void {
    const { buffer, first: start, size, base } = this.#entry(name);
    if (first + values.length > size)
      throw new Error(`${name} has ${size} elements; cannot write to ${first + values.length}.`);
    const { queue } = this.gpu.device;
    const begin = start + first;
    const end = begin + values.length;
    const firstWhole = Math.ceil(begin / INT8_BLOCK);
    const endWhole = Math.max(firstWhole, Math.floor(end / INT8_BLOCK));
    const wholeBytes = (endWhole - firstWhole) * INT8_BLOCK;
    if (wholeBytes > 0) {
      const levels = new Int8Array(wholeBytes);
      const scales = new Float32Array(endWhole - firstWhole);
      for (let i = 0; i < scales.length; i++) {
        const at = i * INT8_BLOCK;
        const from = firstWhole * INT8_BLOCK - begin + at;
        const block = values.subarray(from, from + INT8_BLOCK);
        scales[i] = toInt8(block, levels.subarray(at, at + INT8_BLOCK));
      }
      queue.writeBuffer(this.#levels[buffer], firstWhole * INT8_BLOCK, levels);
      queue.writeBuffer(this.#scales[buffer], firstWhole * SCALE, scales);
    }
    // Blocks of which these are some values only.
    const wait = (from: number, to: number) => {
      if (from < to) this.#collect(buffer, base, from, values.subarray(from - begin, to - begin));
    };
    wait(begin, Math.min(end, firstWhole * INT8_BLOCK));
    wait(Math.max(begin, endWhole * INT8_BLOCK, firstWhole * INT8_BLOCK), end);
  }

  /** Keeps part of a block, from element `at` of its buffer on, until all of the block is there. */
  #collect(buffer: number, base: number, at: number, values: Float32Array): void {
    const block = Math.floor(at / INT8_BLOCK);
    const key = base / INT8_BLOCK + block;
    const known = this.#unfinished.get(key) ?? {
      values: new Float32Array(INT8_BLOCK),
      missing: this.#filled(base + block * INT8_BLOCK),
    };
    known.values.set(values, at - block * INT8_BLOCK);
    known.missing -= values.length;
    this.#unfinished.set(key, known);
    if (known.missing > 0) return;
    this.#unfinished.delete(key);
    const levels = new Int8Array(INT8_BLOCK);
    const scale = toInt8(known.values, levels);
    const { queue } = this.gpu.device;
    queue.writeBuffer(this.#levels[buffer], block * INT8_BLOCK, levels);
    queue.writeBuffer(this.#scales[buffer], block * SCALE, Float32Array.of(scale));
  }

  /** How many of a block's elements are some matrix's: the last one may end in a gap. */
  #filled(first: number): number {
    let count = 0;
    for (const tensor of this.plan.tensors.values()) {
      const end = Math.min(first + INT8_BLOCK, tensor.first + tensor.size);
      count += Math.max(0, end - Math.max(first, tensor.first));
    }
    return count;
  }

  async readParameter(name: string): Promise<Float32Array> {
    const { buffer, first, size } = this.#entry(name);
    const block = Math.floor(first / INT8_BLOCK);
    const blocks = Math.ceil((first + size) / INT8_BLOCK) - block;
    const levels = new Int8Array(
      await this.gpu.read(this.#levels[buffer], block * INT8_BLOCK, blocks * INT8_BLOCK),
    );
    const scales = new Float32Array(
      await this.gpu.read(this.#scales[buffer], block * SCALE, blocks * SCALE),
    );
    const skip = first - block * INT8_BLOCK;
    return Float32Array.from({ length: size }, (_, i) => {
      const at = skip + i;
      return scales[Math.floor(at / INT8_BLOCK)] * levels[at];
    });
  }

  destroy(): void {
    const buffers = [...this.#levels, ...this.#scales, bufferOf(this.#operand)];
    for (const buffer of buffers) this.gpu.memory.destroy(buffer);
  }

  /** A matrix, its buffer, where in that it begins, and where in the plan the buffer does. */
  #entry(name: string) {
    const entry = this.plan.tensors.get(name);
    if (!entry) throw new Error(`frozen weights: no matrix ${name}.`);
    let [buffer, base] = [0, 0];
    while (entry.first - base >= this.plan.bufferSizes[buffer])
      base += this.plan.bufferSizes[buffer++];
    return { ...entry, buffer, base, first: entry.first - base };
  }
}
