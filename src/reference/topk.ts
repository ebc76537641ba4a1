// What a cache keeps of a teacher, and the loss against it: k words and all the others as one
// outcome.

import { roundToHalf, toHalf } from '../tensor/dtype';
import type { Numbers, Strided } from './arrays';
import { logSumExp } from './layers';
import { address, argmax, crossEntropy, type LossOptions, logSoftmax, validRows } from './losses';

/** f16's lowest stands for −∞. */
const LOWEST_HALF = -65504;

export interface TopKRow {
  /** Ascending. */
  ids: number[];
  /** Logits less the row's largest, as f16 holds them. */
  values: number[];
  /** ln Σ exp((y − largest)/T) over the other words; −∞ where their probabilities are 0. */
  rest: number;
}

/** The k largest of a row of logits, of equal ones the lowest ids. */
export function topKRow(y: Numbers, k: number, temperature: number): TopKRow {
  const order = Array.from(y, (_, v) => v).sort((a, b) => y[b] - y[a] || a - b);
  const largest = y[order[0]];
  const ids = order.slice(0, k).sort((a, b) => a - b);
  const others = order.slice(k).map((v) => (y[v] - largest) / temperature);
  return {
    ids,
    values: ids.map((v) => roundToHalf(Math.max(y[v] - largest, LOWEST_HALF))),
    rest: others.some((x) => x > Number.NEGATIVE_INFINITY)
      ? logSumExp(others)
      : Number.NEGATIVE_INFINITY,
  };
}

export interface TopKLossResult {
  /** (B, T), not divided by anything; 0 where ignored. KL without T². */
  ce: Float64Array;
  kl: Float64Array;
  /** 1 where student and teacher find the same word likeliest. */
  agreement: Float64Array;
  /** d (mean of alpha · T² · KL + (1 − alpha) · CE) / d student, in the student's storage. */
  gradient: Float64Array;
  /** That mean. */
  loss: number;
}

/** The mixed loss with forward KL over k + 1 outcomes; `rows` has an entry for each of the B·T. */
export function topKLoss(
  options: Omit<LossOptions, 'kind' | 'beta'>,
  student: Strided,
  rows: readonly TopKRow[],
  targets: Strided,
): TopKLossResult {
  const { temperature: T = 1, alpha = 0.5, labelSmoothing = 0, zLoss = 0 } = options;
  const count = student.layout.shape[0] * student.layout.shape[1];
  const [ce, kl, agreement] = [
    new Float64Array(count),
    new Float64Array(count),
    new Float64Array(count),
  ];
  const gradient = new Float64Array(student.data.length);
  let valid = 0;
  let sum = 0;
  for (const { b, t, n, target, z } of validRows(
    student,
    undefined,
    targets,
    options.ignoreIndex,
  )) {
    valid++;
    const { ids, values, rest } = rows[n];
    const hard = crossEntropy(z, target, labelSmoothing, zLoss);
    const logQ = logSoftmax(z.map((v) => v / T));
    const others = [...z.keys()].filter((v) => !ids.includes(v));
    const logP = logSoftmax(Float64Array.from([...values.map((y) => y / T), rest]));
    const logOutcomes = [...ids.map((v) => logQ[v]), logSumExp(others.map((v) => logQ[v]))];
    const p = logP.map(Math.exp);
    ce[n] = hard.value;
    p.forEach((weight, j) => {
      if (weight > 0) kl[n] += weight * (logP[j] - logOutcomes[j]);
    });
    agreement[n] = argmax(z) === ids[argmax(Float64Array.from(values))] ? 1 : 0;
    const slope = logQ.map((lq, v) => {
      const j = ids.indexOf(v);
      return j >= 0
        ? Math.exp(lq) - p[j]
        : Math.exp(lq) * (1 - Math.exp(logP[ids.length] - logOutcomes[ids.length]));
    });
    for (let v = 0; v < z.length; v++) {
      gradient[address(student, b, t, v)] += alpha * T * slope[v] + (1 - alpha) * hard.gradient[v];
    }
    sum += alpha * T * T * kl[n] + (1 - alpha) * ce[n];
  }
  const denominator = options.denominator ?? valid;
  return {
    ce,
    kl,
    agreement,
    gradient: gradient.map((g) => g / denominator),
    loss: sum / denominator,
  };
}

/** An entry's u32 words as src/kernels/topk.ts describes them. */
export function packEntry({ ids, values, rest }: TopKRow, V: number): Uint32Array {
  const halves = toHalf(Float32Array.from(values));
  const pairs = (numbers: ArrayLike<number>) =>
    Array.from(
      { length: Math.ceil(numbers.length / 2) },
      (_, i) => numbers[2 * i] + 2 ** 16 * (numbers[2 * i + 1] ?? 0),
    );
  if (ids.length === V) return Uint32Array.from(pairs(halves));
  const bits = new Uint32Array(Float32Array.of(Math.max(rest, -1e30)).buffer);
  return Uint32Array.from([bits[0], ...pairs(halves), ...(V <= 65536 ? pairs(ids) : ids)]);
}
