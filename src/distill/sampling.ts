// Which token follows, of a model's logits: the likely tokens that temperature, top-k and top-p
// leave, and a random number that falls into the share of one. Pure. Texts that are not written on
// the GPU (sample.wgsl) are chosen here, for the page and the command line alike.

import type { SaySettings } from '../say-settings';

/**
 * `temperature` divides the logits, and 0 takes the likeliest; `top_k` keeps the k likeliest, and 0
 * all; of those, `top_p` keeps the fewest likeliest that have this share of their probability.
 */
export type Sampling = Pick<SaySettings, 'temperature' | 'top_k' | 'top_p'>;

/**
 * An evaluation's: a temperature low enough to stay on the subject, and high enough not to repeat
 * itself.
 */
export const SAMPLING: Sampling = { temperature: 0.8, top_k: 40, top_p: 1 };

/** Up to so many tokens are inserted in order; for more, sorting all of them is faster. */
const MOST_INSERTED = 256;

/** The `count` likeliest tokens, the likeliest first and, of equal logits, the lowest id first. */
export function likeliest(logits: Float32Array, count: number): number[] {
  if (count > MOST_INSERTED) {
    const all = Uint32Array.from(logits, (_, token) => token);
    return [...all.sort((a, b) => logits[b] - logits[a] || a - b).subarray(0, count)];
  }
  const best: number[] = [];
  for (const [token, logit] of logits.entries()) {
    if (best.length === count && !(logit > logits[best[count - 1]])) continue;
    let place = best.length;
    while (place > 0 && logit > logits[best[place - 1]]) place--;
    best.splice(place, 0, token);
    best.length = Math.min(best.length, count);
  }
  return best;
}

/**
 * The tokens that `sampling` leaves, the likeliest first, and their weights, which are proportional
 * to their probabilities.
 */
export function candidates(
  logits: Float32Array,
  { temperature, top_k, top_p }: Sampling,
): { tokens: number[]; weights: number[] } {
  const k = temperature === 0 ? 1 : top_k || logits.length;
  const tokens = likeliest(logits, Math.min(k, logits.length));
  const weight = (token: number) => Math.exp((logits[token] - logits[tokens[0]]) / temperature);
  const weights = temperature === 0 ? [1] : tokens.map(weight);
  if (top_p === 1) return { tokens, weights };
  const least = top_p * weights.reduce((a, b) => a + b);
  let sum = 0;
  const last = weights.findIndex((each) => (sum += each) >= least);
  const kept = last < 0 ? weights.length : last + 1;
  return { tokens: tokens.slice(0, kept), weights: weights.slice(0, kept) };
}

/** The token whose share of the range 0 to 1 the roll falls into, as in sample.wgsl. */
export function chooseToken(logits: Float32Array, sampling: Sampling, roll: number): number {
  const { tokens, weights } = candidates(logits, sampling);
  let left = roll * weights.reduce((a, b) => a + b);
  for (const [i, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return tokens[i];
  }
  return tokens[0];
}

/** ln of every token's probability, at temperature 1. */
export function logProbabilities(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
  const subtracted = largest + Math.log(total);
  return Float64Array.from(logits, (logit) => logit - subtracted);
}
