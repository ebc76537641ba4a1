// A cached teacher: of each row, the k most likely tokens and the tail, which is all other tokens
// as one outcome; and the loss against such rows.

import type { Numbers, Strided } from './arrays';
import { halfBits, roundToHalf } from './half';
import { logSumExp } from './layers';
import { address, argmax, crossEntropy, type LossOptions, logSoftmax, validRows } from './losses';

/** The lowest float16. It stands for −∞, whose probability is 0 at any temperature. */
const LOWEST_HALF = -65504;

export interface TopKRow {
  /** Tokens, in ascending order. */
  ids: number[];
  /** Their logits minus the row's largest, rounded to float16. */
  values: number[];
  /** ln Σ exp((y − largest) / T) over all other tokens; −∞ if they all have probability 0. */
  tail: number;
}

/** The k largest of logits y (V); among equals, the lowest ids. */
export function topKRow(y: Numbers, k: number, temperature: number): TopKRow {
  const order = Array.from(y, (_, v) => v).sort((a, b) => y[b] - y[a] || a - b);
  const largest = y[order[0]];
  const ids = order.slice(0, k).sort((a, b) => a - b);
  const others = order.slice(k).map((v) => (y[v] - largest) / temperature);
  return {
    ids,
    values: ids.map((v) => roundToHalf(Math.max(y[v] - largest, LOWEST_HALF))),
    tail: others.some((x) => x > Number.NEGATIVE_INFINITY)
      ? logSumExp(others)
      : Number.NEGATIVE_INFINITY,
  };
}

export interface TopKLossResult {
  /** (B, T): each token's cross-entropy, 0 if its target is ignored. */
  ce: Float64Array;
  /** (B, T): each token's KL, without T². */
  kl: Float64Array;
  /** (B, T): 1 if student and teacher have the same most likely token. */
  agreement: Float64Array;
  /** (B, T): 1 if the most likely token of the student, or of the teacher, is the target. */
  studentRight: Float64Array;
  teacherRight: Float64Array;
  /** d loss / d student, laid out as the student's storage. */
  gradient: Float64Array;
  /** The mean over valid targets of alpha · T² · KL + (1 − alpha) · CE. */
  loss: number;
}

/**
 * The mixed loss, its forward KL taken over k + 1 outcomes: the k tokens and the tail. `rows` holds
 * the teacher's B·T rows. The gradient of KL by z/T is q − p for a token of the k. A token of the
 * tail gets the tail's p in proportion to q: q (1 − p_tail / q_tail).
 */
export function topKLoss(
  options: Omit<LossOptions, 'kind' | 'beta'>,
  student: Strided,
  rows: readonly TopKRow[],
  targets: Strided,
): TopKLossResult {
  const { temperature: T = 1, alpha = 0.5, labelSmoothing = 0, zLoss = 0 } = options;
  const count = student.layout.shape[0] * student.layout.shape[1];
  const [ce, kl, agreement, studentRight, teacherRight] = Array.from(
    { length: 5 },
    () => new Float64Array(count),
  );
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
    const { ids, values, tail } = rows[n];
    const hard = crossEntropy(z, target, labelSmoothing, zLoss);
    const logQ = logSoftmax(z.map((v) => v / T));
    const others = [...z.keys()].filter((v) => !ids.includes(v));
    const logP = logSoftmax(Float64Array.from([...values.map((y) => y / T), tail]));
    const logOutcomes = [...ids.map((v) => logQ[v]), logSumExp(others.map((v) => logQ[v]))];
    const p = logP.map(Math.exp);
    ce[n] = hard.value;
    p.forEach((weight, j) => {
      if (weight > 0) kl[n] += weight * (logP[j] - logOutcomes[j]);
    });
    const teacherToken = ids[argmax(Float64Array.from(values))];
    agreement[n] = argmax(z) === teacherToken ? 1 : 0;
    studentRight[n] = argmax(z) === target ? 1 : 0;
    teacherRight[n] = teacherToken === target ? 1 : 0;
    const dkl = logQ.map((lq, v) => {
      const j = ids.indexOf(v);
      return j >= 0
        ? Math.exp(lq) - p[j]
        : Math.exp(lq) * (1 - Math.exp(logP[ids.length] - logOutcomes[ids.length]));
    });
    for (let v = 0; v < z.length; v++) {
      gradient[address(student, b, t, v)] += alpha * T * dkl[v] + (1 - alpha) * hard.gradient[v];
    }
    sum += alpha * T * T * kl[n] + (1 - alpha) * ce[n];
  }
  const denominator = options.denominator ?? valid;
  return {
    ce,
    kl,
    agreement,
    studentRight,
    teacherRight,
    gradient: gradient.map((g) => g / denominator),
    loss: sum / denominator,
  };
}

/** A row as the u32 of a cache entry; src/kernels/topk.ts describes the format. */
export function packEntry({ ids, values, tail }: TopKRow, V: number): Uint32Array {
  const halves = values.map(halfBits);
  const pairs = (numbers: ArrayLike<number>) =>
    Array.from(
      { length: Math.ceil(numbers.length / 2) },
      (_, i) => numbers[2 * i] + 2 ** 16 * (numbers[2 * i + 1] ?? 0),
    );
  if (ids.length === V) return Uint32Array.from(pairs(halves));
  const bits = new Uint32Array(Float32Array.of(Math.max(tail, -1e30)).buffer);
  return Uint32Array.from([bits[0], ...pairs(halves), ...(V <= 65536 ? pairs(ids) : ids)]);
}
