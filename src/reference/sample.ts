// Drawing a word from a row of logits.

import type { Numbers } from './arrays';

/**
 * The k likeliest words, of equal ones the lowest ids first, and where the part of the range 0 to 1
 * ends that belongs to each.
 */
export function shares(
  logits: Numbers,
  k: number,
  temperature: number,
): { words: number[]; ends: number[] } {
  const words = Array.from(logits, (_, v) => v)
    .sort((a, b) => logits[b] - logits[a] || a - b)
    .slice(0, k);
  const weights = words.map((v) => Math.exp((logits[v] - logits[words[0]]) / temperature));
  const total = weights.reduce((a, b) => a + b);
  let sum = 0;
  return { words, ends: weights.map((weight) => (sum += weight / total)) };
}
