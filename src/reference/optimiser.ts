// From gradients to a step: clipping, AdamW, the loss scaler and the learning rate schedule.

import { type Numbers, norm } from './arrays';

export interface AdamWOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Decoupled: the parameter shrinks by learningRate · weightDecay of itself. */
  weightDecay: number;
}

/**
 * One AdamW update of a parameter w and its moments, in place. `step` counts updates from 1.
 *
 *     m = β₁ m + (1 − β₁) g, v = β₂ v + (1 − β₂) g²
 *     m̂ = m / (1 − β₁^step), v̂ = v / (1 − β₂^step)
 *     w −= lr · (m̂ / (√v̂ + ε) + decay · w)
 */
export function adamW(
  parameter: Float64Array,
  gradient: Numbers,
  m: Float64Array,
  v: Float64Array,
  step: number,
  options: AdamWOptions,
): void {
  const { learningRate, beta1, beta2, epsilon, weightDecay } = options;
  for (let i = 0; i < parameter.length; i++) {
    m[i] = beta1 * m[i] + (1 - beta1) * gradient[i];
    v[i] = beta2 * v[i] + (1 - beta2) * gradient[i] ** 2;
    const mHat = m[i] / (1 - beta1 ** step);
    const vHat = v[i] / (1 - beta2 ** step);
    parameter[i] -=
      learningRate * (mHat / (Math.sqrt(vHat) + epsilon) + weightDecay * parameter[i]);
  }
}

/**
 * (Σ Δw², Σ w²) of an AdamW update, from the parameter w and the moments that it left; `step` is
 * its number.
 *
 *     w′ = (w + lr û) / (1 − lr · decay), Δw = w − w′, with û = m̂ / (√v̂ + ε)
 */
export function updateSums(
  parameter: Numbers,
  m: Numbers,
  v: Numbers,
  step: number,
  { learningRate: lr, beta1, beta2, epsilon, weightDecay }: AdamWOptions,
): [number, number] {
  const sums: [number, number] = [0, 0];
  for (let i = 0; i < parameter.length; i++) {
    const mHat = m[i] / (1 - beta1 ** step);
    const vHat = v[i] / (1 - beta2 ** step);
    const before =
      (parameter[i] + (lr * mHat) / (Math.sqrt(vHat) + epsilon)) / (1 - lr * weightDecay);
    sums[0] += (parameter[i] - before) ** 2;
    sums[1] += parameter[i] ** 2;
  }
  return sums;
}

/** PyTorch adds this to the norm before dividing. */
const CLIP_EPSILON = 1e-6;

/** The factor, at most 1, that brings a norm down to about `max`. A `max` of 0 never clips. */
export function clipCoefficient(gradNorm: number, max: number): number {
  return max === 0 ? 1 : Math.min(1, max / (gradNorm + CLIP_EPSILON));
}

/** Scales all gradients, in place, to a global norm of at most `max`. Returns the norm before. */
export function clipGradients(gradients: Float64Array[], max: number): number {
  const before = norm(...gradients);
  const coefficient = clipCoefficient(before, max);
  for (const gradient of gradients)
    for (let i = 0; i < gradient.length; i++) gradient[i] *= coefficient;
  return before;
}

export interface Scaler {
  /** Multiplies the loss; gradients are divided by it. */
  scale: number;
  /** Steps with finite gradients since the scale last changed. */
  goodSteps: number;
}

/** PyTorch's GradScaler, but never below `smallest`. */
export const SCALER = {
  initial: 65536,
  growth: 2,
  backoff: 0.5,
  interval: 2000,
  smallest: 1,
} as const;

/** The scaler after a step. `finite`: whether all gradients were; if not, the step is skipped. */
export function updateScaler({ scale, goodSteps }: Scaler, finite: boolean): Scaler {
  if (!finite) return { scale: Math.max(SCALER.smallest, scale * SCALER.backoff), goodSteps: 0 };
  if (goodSteps + 1 < SCALER.interval) return { scale, goodSteps: goodSteps + 1 };
  // The GPU keeps the scale in a float32. A scale that would overflow stays as it is.
  const grown = scale * SCALER.growth;
  return { scale: Number.isFinite(Math.fround(grown)) ? grown : scale, goodSteps: 0 };
}

export interface Schedule {
  kind: 'constant' | 'linear' | 'cosine';
  /** The highest learning rate, reached at the end of the warm-up. */
  peak: number;
  /** Steps over which the learning rate rises to the peak. */
  warmup: number;
  /** Steps in all, warm-up included; `linear` and `cosine` reach 0 at the last. */
  steps: number;
}

/** The learning rate of `step`, counted from 1. */
export function learningRateAt(step: number, { kind, peak, warmup, steps }: Schedule): number {
  if (step < warmup) return (peak * step) / warmup;
  if (kind === 'constant' || step === warmup) return peak;
  const progress = step >= steps ? 1 : (step - warmup) / (steps - warmup);
  return kind === 'linear'
    ? peak * (1 - progress)
    : peak * 0.5 * (1 + Math.cos(Math.PI * progress));
}
