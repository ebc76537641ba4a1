// What turns gradients into a step: clipping, AdamW, the loss scaler, the learning rate's schedule.

import { type Numbers, norm } from './arrays';

export interface AdamWOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Decoupled: the parameter shrinks by learningRate · weightDecay, whatever its gradient. */
  weightDecay: number;
}

/**
 * One AdamW update, in place, of a parameter and its moments. `step` is 1 for the first update that
 * is applied.
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
    const meanHat = m[i] / (1 - beta1 ** step);
    const squareHat = v[i] / (1 - beta2 ** step);
    parameter[i] -=
      learningRate * (meanHat / (Math.sqrt(squareHat) + epsilon) + weightDecay * parameter[i]);
  }
}

/** PyTorch adds this to the norm before it divides. */
const CLIP_EPSILON = 1e-6;

/**
 * The factor, at most 1, that brings gradients of norm `gradNorm` down to about `max`; a `max` of 0
 * never clips.
 */
export function clipCoefficient(gradNorm: number, max: number): number {
  return max === 0 ? 1 : Math.min(1, max / (gradNorm + CLIP_EPSILON));
}

/**
 * Scales all gradients, in place, to a global norm of at most about `max`. Returns the norm before.
 */
export function clipGradients(gradients: Float64Array[], max: number): number {
  const before = norm(...gradients);
  const coefficient = clipCoefficient(before, max);
  for (const gradient of gradients)
    for (let i = 0; i < gradient.length; i++) gradient[i] *= coefficient;
  return before;
}

export interface Scaler {
  /** What the loss is multiplied by, and gradients divided by. */
  scale: number;
  /** Steps since the last change of scale whose gradients were all finite. */
  goodSteps: number;
}

/** PyTorch's GradScaler. */
export const SCALER = {
  initial: 65536,
  growth: 2,
  backoff: 0.5,
  interval: 2000,
  smallest: 1,
} as const;

/**
 * The scaler after a step whose gradients were all `finite`, or were not: such a step changes
 * nothing else.
 */
export function updateScaler({ scale, goodSteps }: Scaler, finite: boolean): Scaler {
  if (!finite) return { scale: Math.max(SCALER.smallest, scale * SCALER.backoff), goodSteps: 0 };
  if (goodSteps + 1 < SCALER.interval) return { scale, goodSteps: goodSteps + 1 };
  // The scale lives in a float32; one that would overflow stays where it is.
  const grown = scale * SCALER.growth;
  return { scale: Number.isFinite(Math.fround(grown)) ? grown : scale, goodSteps: 0 };
}

export interface Schedule {
  kind: 'constant' | 'linear' | 'cosine';
  /** The learning rate after the warm-up. */
  peak: number;
  warmup: number;
  /** All steps, those of the warm-up included; `linear` and `cosine` reach 0 at the last. */
  steps: number;
}

/** The learning rate of `step`, 1 for the first. */
export function learningRateAt(step: number, { kind, peak, warmup, steps }: Schedule): number {
  if (step < warmup) return (peak * step) / warmup;
  if (kind === 'constant' || step === warmup) return peak;
  const progress = step >= steps ? 1 : (step - warmup) / (steps - warmup);
  return kind === 'linear'
    ? peak * (1 - progress)
    : peak * 0.5 * (1 + Math.cos(Math.PI * progress));
}
