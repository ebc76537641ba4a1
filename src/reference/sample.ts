// Sampling the next token from a row of logits.

import type { Numbers } from './arrays';

/**
 * The k most likely tokens of logits (V), the most likely first and, among equals, the lowest id
 * first; and for each the upper end of its share of the range 0 to 1. Shares are proportional to
 * exp(logit / temperature). A random number in a token's share samples that token.
 */
export function tokenShares(
  logits: Numbers,
  k: number,
  temperature: number,
): { tokens: number[]; ends: number[] } {
  const tokens = Array.from(logits, (_, v) => v)
    .sort((a, b) => logits[b] - logits[a] || a - b)
    .slice(0, k);
  const weights = tokens.map((v) => Math.exp((logits[v] - logits[tokens[0]]) / temperature));
  const total = weights.reduce((a, b) => a + b);
  let sum = 0;
  return { tokens, ends: weights.map((weight) => (sum += weight / total)) };
}
