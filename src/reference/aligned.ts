// Losses between models without a common vocabulary. Their tokens are cut into groups that spell
// the same bytes (data/aligned.ts), and each model has a distribution for each group: that of its
// last token, times the probabilities of the tokens before it (the chain rule),
//
//     a (V) = c softmax(z_last / T), c = Π max(softmax(z_r / T)_token, 1e-8) over the rows before
//
// The two are compared by rank, or, where a token of the same text is in both, token by token.
//
// Sources: Boizard et al. 2024, "Towards Cross-Tokenizer Distillation: the Universal Logit
// Distillation Loss", for ranks; Patiño et al. 2025, "Unlocking On-Policy Distillation for Any
// Model Family" (GOLD), for groups and matched tokens.

import type { Numbers } from './arrays';
import { logSoftmax } from './losses';

/** First and last row of a group, in the student's logits and in the teacher's. */
export type GroupRows = [first: number, last: number, teacherFirst: number, teacherLast: number];

export interface AlignedLossOptions {
  temperature: number;
  /** (V) for each student token the teacher's of the same text, or −1; without it, only ranks. */
  matched?: ArrayLike<number>;
  /** β of the divergence between matched tokens. */
  beta?: number;
  /** What the loss is divided by; the number of groups by default. */
  denominator?: number;
}

export interface AlignedLossResult {
  /** Mean over groups, without T². */
  loss: number;
  perGroup: Float64Array;
  /** (N, V) by z. */
  gradient: Float64Array;
}

/** Below this a probability counts as this, and has no gradient. */
const LEAST = 1e-8;

interface Side {
  logits: Numbers; // (rows, V)
  V: number;
  /** (rows) the token that each row predicts. */
  targets: ArrayLike<number>;
}

function probabilities({ logits, V }: Side, row: number, T: number): Float64Array {
  const z = Float64Array.from({ length: V }, (_, v) => logits[row * V + v] / T);
  return logSoftmax(z).map(Math.exp);
}

/** c: the probabilities of the tokens before a group's last. */
function chance(side: Side, first: number, last: number, T: number): number {
  let product = 1;
  for (let row = first; row < last; row++)
    product *= Math.max(LEAST, probabilities(side, row, T)[side.targets[row]]);
  return product;
}

/** Descending, of equal ones the lower index first. */
const ranked = (values: Float64Array): number[] =>
  [...values.keys()].sort((i, j) => values[j] - values[i] || i - j);

/**
 * What one group costs, and its gradient by a.
 *
 *     ranks     R = Σ_k |a_(k) − b_(k)|, each sorted, the shorter continued by 0
 *               dR/da_v = sign(a_v − b of the same rank)
 *     matched   over tokens in both, with q = max(a, 1e-8), p = max(b, 1e-8), m = β p + (1 − β) q
 *               M = Σ β p (ln p − ln m) + (1 − β) q (ln q − ln m),  dM/da_v = (1 − β) ln(q / m)
 *     loss      w M + (1 − w) R, R over the tokens that are not matched; w is the share of the
 *               teacher's vocabulary that is. If all of one are matched, R is 0.
 */
function compareGroup(
  a: Float64Array,
  b: Float64Array,
  matched: ArrayLike<number> | undefined,
  beta: number,
): { value: number; da: Float64Array } {
  const da = new Float64Array(a.length);
  const pairs = [...a.keys()].flatMap((v) => (matched && matched[v] >= 0 ? [[v, matched[v]]] : []));
  const weight = pairs.length / b.length;
  let value = 0;
  for (const [v, w] of pairs) {
    const [q, p] = [Math.max(LEAST, a[v]), Math.max(LEAST, b[w])];
    const m = beta * p + (1 - beta) * q;
    value += weight * (beta * p * Math.log(p / m) + (1 - beta) * q * Math.log(q / m));
    if (a[v] >= LEAST) da[v] = weight * (1 - beta) * Math.log(q / m);
  }
  if (pairs.length === Math.min(a.length, b.length)) return { value, da };
  const others = (count: number, taken: Set<number>) =>
    Array.from({ length: count }, (_, v) => v).filter((v) => !taken.has(v));
  const mine = others(a.length, new Set(pairs.map(([v]) => v)));
  const theirs = others(b.length, new Set(pairs.map(([, w]) => w)));
  const order = ranked(Float64Array.from(mine, (v) => a[v])).map((i) => mine[i]);
  const sorted = Float64Array.from(theirs, (w) => b[w])
    .sort()
    .reverse();
  for (let k = 0; k < Math.max(order.length, sorted.length); k++) {
    const difference = (a[order[k]] ?? 0) - (sorted[k] ?? 0);
    value += (1 - weight) * Math.abs(difference);
    if (k < order.length) da[order[k]] = (1 - weight) * Math.sign(difference);
  }
  return { value, da };
}

/**
 * The loss over groups, and its gradient. Through the softmax, with S = Σ_v da_v a_v:
 *
 *     dz_last = q (c da − S) / T
 *     dz_r    = S (1_token − q) / T for the rows before, unless their probability is below 1e-8
 */
export function alignedLoss(
  student: Side,
  teacher: Side,
  groups: readonly GroupRows[],
  options: AlignedLossOptions,
): AlignedLossResult {
  const { temperature: T, matched, beta = 0.5, denominator = groups.length } = options;
  const gradient = new Float64Array(student.logits.length);
  const { V } = student;
  const perGroup = groups.map(([first, last, teacherFirst, teacherLast]) => {
    const q = probabilities(student, last, T);
    const c = chance(student, first, last, T);
    const a = q.map((value) => c * value);
    const d = chance(teacher, teacherFirst, teacherLast, T);
    const b = probabilities(teacher, teacherLast, T).map((value) => d * value);
    const { value, da } = compareGroup(a, b, matched, beta);
    const S = a.reduce((sum, each, v) => sum + each * da[v], 0);
    for (let v = 0; v < V; v++)
      gradient[last * V + v] += (q[v] * (c * da[v] - S)) / T / denominator;
    for (let row = first; row < last; row++) {
      const before = probabilities(student, row, T);
      const token = student.targets[row];
      if (before[token] < LEAST) continue;
      for (let v = 0; v < V; v++)
        gradient[row * V + v] += (S * (Number(v === token) - before[v])) / T / denominator;
    }
    return value;
  });
  return {
    loss: perGroup.reduce((sum, value) => sum + value, 0) / denominator,
    perGroup: Float64Array.from(perGroup),
    gradient,
  };
}
