// Weights and tokens from a formula, the same here and in story_pair.py, so that another program
// can start from the same model without a file. Every weight is a float16 number, exact in either
// precision.

import type { Batch } from '../../src/data/batches';
import type { Architecture } from '../../src/model/family';
import type { WeightSink } from '../../src/model/parameters';

/** MurmurHash3's finaliser: every output bit depends on all bits of `x`. */
function mixed(x: number): number {
  let h = x ^ (x >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The seed of a name's values: FNV-1a of its characters. */
function seedOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  return hash >>> 0;
}

/** 10 random bits for element `i`. */
const bitsAt = (seed: number, i: number) => mixed(seed + Math.imul(i, 0x9e3779b1)) >>> 22;

/** Elements per slice; even, as an f16 arena requires. */
const SLICE = 2 ** 19;

/**
 * A model's weights: uniform around 0 with a deviation near GPT-2's 0.02, all odd multiples of a
 * power of two.
 */
export const weightsOf = (label: string, model: Architecture) => async (sink: WeightSink) => {
  const projection = 2 ** (-4 - Math.round(Math.log2(Math.sqrt(2 * model.layers))));
  for (const { name, shape } of model.parameters) {
    const seed = seedOf(`${label}.${name}`);
    const size = shape.reduce((a, b) => a * b);
    const norm = /(ln_\w+|norm)\.weight$/.test(name);
    const inner = /\b(c|o|down)_proj\.weight$/.test(name);
    const scale = (inner ? projection : 2 ** -4) / 2048;
    for (let first = 0; first < size; first += SLICE) {
      const values = new Float32Array(Math.min(SLICE, size - first));
      for (let i = 0; i < values.length; i++) {
        const k = bitsAt(seed, first + i);
        values[i] = norm ? 1 + (k - 512) / 1024 : (2 * k - 1023) * scale;
      }
      await sink(name, first, values);
    }
  }
};

/** The same weights, each as one array. */
export async function allWeights(
  label: string,
  model: Architecture,
): Promise<Map<string, Float32Array>> {
  const sizes = model.parameters.map(
    ({ name, shape }) => [name, shape.reduce((a, b) => a * b)] as const,
  );
  const weights = new Map(sizes.map(([name, size]) => [name, new Float32Array(size)]));
  await weightsOf(label, model)((name, first, values) => weights.get(name)?.set(values, first));
  return weights;
}

const tokenSeed = seedOf('tokens');

/** A batch of B sequences of T tokens; each target is the next token. */
export function batchOf(B: number, T: number, V: number): Batch {
  const token = (row: number, t: number) => mixed(tokenSeed + row * (T + 1) + t) % V;
  return {
    index: 0,
    inputs: Uint32Array.from({ length: B * T }, (_, i) => token(Math.floor(i / T), i % T)),
    targets: Int32Array.from({ length: B * T }, (_, i) => token(Math.floor(i / T), (i % T) + 1)),
  };
}

/** `count` numbers, uniform from −scale to scale. */
export function numbers(name: string, count: number, scale = 1): Float32Array<ArrayBuffer> {
  const seed = seedOf(name);
  return Float32Array.from(
    { length: count },
    (_, i) => ((2 * bitsAt(seed, i) - 1023) / 1024) * scale,
  );
}
