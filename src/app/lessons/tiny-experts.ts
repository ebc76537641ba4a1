// A model small enough to be trained by the reference's formulas while somebody watches: it reads
// two letters of a text, one layer with experts looks at them, and it predicts the next letter.
// What becomes of its router is what became of this training, on this machine, just now. Pure.
//
// N letters of a batch, V letters in the alphabet, C width, F width of an expert, E experts.

import { add, matmul, type Numbers } from '../../reference/arrays';
import {
  expertLoads,
  experts,
  expertsBackward,
  movedBias,
  route,
  routerLossesBackward,
} from '../../reference/experts';
import { crossEntropy } from '../../reference/losses';
import { adamW } from '../../reference/optimiser';
import { Random } from '../../tensor/random';

/** The first lines of the built-in book, in small letters. */
export const TEXT =
  ' call me ishmael. some years ago, never mind how long precisely, having little or no money in ' +
  'my purse, and nothing particular to interest me on shore, i thought i would sail about a ' +
  'little and see the watery part of the world. it is a way i have of driving off the spleen and ' +
  'regulating the circulation. whenever i find myself growing grim about the mouth; whenever it ' +
  'is a damp, drizzly november in my soul; then, i account it high time to get to sea.';

export const EXPERTS = 4;
const SIZES = { E: EXPERTS, k: 1, normalised: false, C: 12, F: 12 };
const { E, C, F } = SIZES;
/** Letters in a batch. */
const BATCH = 32;
/**
 * What all letters have in common at the layer's input. Hidden states of large models have such a
 * part, too. It is why a router that likes an expert for some tokens soon likes it for all.
 */
const COMMON = 1;
const ADAM = { learningRate: 0.01, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0 };

type Weights = Record<string, Float64Array>;

export class TinyExperts {
  /** Steps done. */
  step = 0;
  /** Cross-entropy of the last step's batch, in nats. */
  loss = Number.NaN;
  readonly #alphabet = [...new Set(TEXT)].sort();
  readonly #letters = [...TEXT].map((letter) => this.#alphabet.indexOf(letter));
  readonly #random: Random;
  readonly #weights: Weights;
  /** Added to the probabilities where an expert is chosen, and only there. */
  #bias: Float64Array = new Float64Array(E);
  readonly #moments: Record<'m' | 'v', Weights>;

  constructor(seed: number) {
    this.#random = new Random(seed);
    const V = this.#alphabet.length;
    const random = this.#random.fork('weights');
    const normal = (size: number, deviation: number) =>
      Float64Array.from({ length: size }, () => deviation * random.normal());
    this.#weights = {
      here: normal(V * C, 0.5),
      before: normal(V * C, 0.5),
      head: normal(V * C, 0.3),
      gate: normal(E * C, 0.1),
    };
    for (let e = 0; e < E; e++)
      for (const part of ['gate', 'up', 'down'])
        this.#weights[`experts.${e}.${part}_proj`] = normal(F * C, 0.3);
    this.#moments = { m: zerosLike(this.#weights), v: zerosLike(this.#weights) };
  }

  /**
   * Trains one step.
   * @param balance the weight of the balance loss
   * @param biasRate how far the bias moves towards the experts with fewer letters
   */
  train(balance: number, biasRate = 0): void {
    const weights = this.#weights;
    const V = this.#alphabet.length;
    // A letter that has one before it and one behind it.
    const places = Array.from(
      { length: BATCH },
      () => 1 + this.#random.integer(this.#letters.length - 2),
    );
    const x = this.#inputs(places);
    const matrix = (name: string): Numbers => weights[name];
    const { y, route: chosen } = experts(x, SIZES, matrix, this.#bias);
    const hidden = add(x, y);
    const logits = matmul(hidden, weights.head, BATCH, C, V, { transposeB: true });
    const rows = places.map((place, n) =>
      crossEntropy(logits.slice(n * V, (n + 1) * V), this.#letters[place + 1], 0, 0),
    );
    this.loss = rows.reduce((sum, { value }) => sum + value, 0) / BATCH;

    const gradients = zerosLike(weights);
    const accumulate = (name: string, d: Float64Array) => {
      const sum = gradients[name];
      for (let i = 0; i < d.length; i++) sum[i] += d[i];
    };
    const dlogits = Float64Array.from(
      rows.flatMap(({ gradient }) => Array.from(gradient, (d) => d / BATCH)),
    );
    // logits = hidden · headᵀ
    accumulate('head', matmul(dlogits, hidden, V, BATCH, C, { transposeA: true }));
    const dhidden = matmul(dlogits, weights.head, BATCH, V, C);
    // hidden = x + experts(x)
    const [own] = routerLossesBackward([chosen], SIZES, { balance, z: 0 });
    const through = { matrix, accumulate, dlogits: own };
    const dx = add(dhidden, expertsBackward(dhidden, x, chosen, SIZES, through));
    // x = common + here[letter] + before[the letter before]
    places.forEach((place, n) => {
      const row = dx.subarray(n * C, (n + 1) * C);
      for (const [name, letter] of [
        ['here', this.#letters[place]],
        ['before', this.#letters[place - 1]],
      ] as const)
        row.forEach((d, c) => {
          gradients[name][letter * C + c] += d;
        });
    });
    this.#bias = movedBias(this.#bias, expertLoads(chosen.chosen, E), biasRate);
    this.step++;
    const { m, v } = this.#moments;
    for (const name of Object.keys(weights))
      adamW(weights[name], gradients[name], m[name], v[name], this.step, ADAM);
  }

  /** The expert that each letter of TEXT goes to, the first and the last excepted. */
  chosen(): Uint32Array {
    const places = Array.from({ length: this.#letters.length - 2 }, (_, i) => i + 1);
    const x = this.#inputs(places);
    const logits = matmul(x, this.#weights.gate, places.length, C, E, { transposeB: true });
    return route(logits, SIZES, this.#bias).chosen;
  }

  /** x (N, C) of the letters at these places. */
  #inputs(places: readonly number[]): Float64Array {
    const { here, before } = this.#weights;
    return Float64Array.from(
      places.flatMap((place) => {
        const [letter, last] = [this.#letters[place], this.#letters[place - 1]];
        return Array.from({ length: C }, (_, c) => {
          return COMMON + here[letter * C + c] + before[last * C + c];
        });
      }),
    );
  }
}

/** Each expert's share of the letters. */
export function shares(chosen: Uint32Array): number[] {
  const counts = new Array<number>(EXPERTS).fill(0);
  for (const expert of chosen) counts[expert]++;
  return counts.map((count) => count / chosen.length);
}

const zerosLike = (weights: Weights): Weights =>
  Object.fromEntries(
    Object.entries(weights).map(([name, { length }]) => [name, new Float64Array(length)]),
  );
