// What the lessons compute, from ln probabilities (V): with the reference's formulas, which the
// engine's kernels are tested against too.

import { contiguous } from '../../reference/arrays';
import { distillationLoss, type LossOptions, logSoftmax } from '../../reference/losses';
import { Random } from '../../tensor/random';

/** p (V) at temperature T. A logit and a ln probability differ by a constant, which drops out. */
export const softened = (logP: Float64Array, T: number): Float64Array =>
  logSoftmax(logP.map((value) => value / T)).map(Math.exp);

/** H(p) = −Σ p ln p, in nats. */
export const entropy = (p: Float64Array): number =>
  p.reduce((sum, pv) => (pv === 0 ? sum : sum - pv * Math.log(pv)), 0);

/** ½ Σ |p − q|: the share of probability that is elsewhere. */
export const totalVariation = (p: Float64Array, q: Float64Array): number =>
  p.reduce((sum, pv, v) => sum + Math.abs(pv - q[v]), 0) / 2;

/** The loss of one token, and its gradient (V) by the student's logits. */
export function lossOf(
  options: LossOptions,
  student: Float64Array,
  teacher: Float64Array,
  target = 0,
): { loss: number; kd: number; gradient: Float64Array } {
  const row = (values: Float64Array) => contiguous(values, [1, 1, values.length]);
  return distillationLoss(options, row(student), row(teacher), contiguous([target], [1, 1]));
}

/** KL(teacher ‖ student), or with rkl KL(student ‖ teacher), in nats. */
export const divergence = (
  kind: 'fkl' | 'rkl',
  student: Float64Array,
  teacher: Float64Array,
): number => lossOf({ kind }, student, teacher).kd;

/** Σ |g|: how far a step of length 1 along the gradient moves the logits, all together. */
export const sizeOf = (gradient: Float64Array): number =>
  gradient.reduce((sum, g) => sum + Math.abs(g), 0);

/**
 * The q that minimises α KL(p ‖ q) + (1 − α) CE(q, target) at T = 1: α p + (1 − α) 1_target. Both
 * terms are cross-entropies, of p and of the target, but for constants.
 */
export const bestOfMix = (p: Float64Array, target: number, alpha: number): Float64Array =>
  p.map((pv, v) => alpha * pv + (v === target ? 1 - alpha : 0));

/**
 * ln of the q that minimises w D(a, q) + (1 − w) D(b, q). Forward KL: the mean of a and b. Reverse
 * KL: their geometric mean, normalised.
 */
export function bestOfBoth(
  kind: 'fkl' | 'rkl',
  logA: Float64Array,
  logB: Float64Array,
  w: number,
): Float64Array {
  if (kind === 'rkl') return logSoftmax(logA.map((a, v) => w * a + (1 - w) * logB[v]));
  return logA.map((a, v) => Math.log(w * Math.exp(a) + (1 - w) * Math.exp(logB[v])));
}

/** The share of each token (V) among `first` and further labels drawn from p. */
export function sharesOf(p: Float64Array, first: number, count: number): Float64Array {
  const shares = new Float64Array(p.length);
  shares[first] = 1 / count;
  const random = new Random(1).fork('labels');
  for (let i = 1; i < count; i++) {
    let left = random.uniform();
    let v = 0;
    while (v < p.length - 1 && left >= p[v]) left -= p[v++];
    shares[v] += 1 / count;
  }
  return shares;
}
