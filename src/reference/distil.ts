// One training step of a distillation: losses and gradients, clipping, AdamW.

import { add, contiguous, type Numbers } from './arrays';
import { type GPT2Config, gpt2Backward, gpt2Forward, type Parameters, type Weights } from './gpt2';
import { distillationLoss, type LossOptions } from './losses';
import { type AdamWOptions, adamW, clipGradients } from './optimiser';

/**
 * One batch. `inputs` and `targets` are (B, T), `teacherLogits` (B, T, V); a `ce` run needs no
 * teacher.
 */
export interface DistilBatch {
  B: number;
  T: number;
  inputs: Numbers;
  targets: Numbers;
  teacherLogits?: Numbers;
}

export interface LossAndGradients {
  loss: number;
  ce: number;
  /** Without T². */
  kd: number;
  /** Before clipping. */
  gradients: Parameters;
  valid: number;
}

/**
 * Loss and gradients of one batch, or of several that add up to one step: all are divided by the
 * valid targets of all. `options.denominator` is overruled.
 */
export function lossAndGradients(
  weights: Weights,
  config: GPT2Config,
  batches: readonly DistilBatch[],
  options: LossOptions,
): LossAndGradients {
  const ignoreIndex = options.ignoreIndex ?? -100;
  const valid = batches.reduce(
    (sum, { targets }) => sum + Array.from(targets).filter((t) => t !== ignoreIndex).length,
    0,
  );
  const parts = batches.map(({ B, T, inputs, targets, teacherLogits }): LossAndGradients => {
    const shape = [B, T, config.vocab_size];
    const forward = gpt2Forward(weights, config, inputs, B, T);
    const { loss, ce, kd, gradient } = distillationLoss(
      { ...options, denominator: valid },
      contiguous(forward.logits, shape),
      teacherLogits && contiguous(teacherLogits, shape),
      contiguous(targets, [B, T]),
    );
    return { loss, ce, kd, gradients: gpt2Backward(weights, config, forward, gradient), valid };
  });
  return parts.reduce((sum, part) => ({
    loss: sum.loss + part.loss,
    ce: sum.ce + part.ce,
    kd: sum.kd + part.kd,
    gradients: Object.fromEntries(
      Object.entries(sum.gradients).map(([name, { shape, data }]) => [
        name,
        { shape, data: add(data, part.gradients[name].data) },
      ]),
    ),
    valid,
  }));
}

/** Parameters, AdamW's moments under the same names, and the number of steps applied so far. */
export interface DistilState {
  parameters: Parameters;
  m: Record<string, Float64Array>;
  v: Record<string, Float64Array>;
  applied: number;
}

/** A run that has not started: moments of zero. */
export function startDistilling(parameters: Parameters): DistilState {
  const zeros = () =>
    Object.fromEntries(
      Object.entries(parameters).map(([name, { data }]) => [name, new Float64Array(data.length)]),
    );
  return { parameters, m: zeros(), v: zeros(), applied: 0 };
}

export interface DistilStepResult extends LossAndGradients {
  /** Global norm before clipping. */
  gradNorm: number;
  /** False where a gradient is not finite or no target is valid: then nothing has changed. */
  applied: boolean;
}

/**
 * One step, in place. `maxGradNorm` 0 never clips. Weight decay is for parameters of rank 2 alone.
 */
export function distilStep(
  state: DistilState,
  config: GPT2Config,
  batches: readonly DistilBatch[],
  loss: LossOptions,
  optimiser: AdamWOptions & { maxGradNorm: number },
): DistilStepResult {
  const result = lossAndGradients(state.parameters, config, batches, loss);
  const clipped = Object.fromEntries(
    Object.entries(result.gradients).map(([name, { data }]) => [name, data.slice()]),
  );
  const gradNorm = clipGradients(Object.values(clipped), optimiser.maxGradNorm);
  const applied = Number.isFinite(gradNorm) && result.valid > 0;
  if (applied) {
    state.applied++;
    for (const [name, { shape, data }] of Object.entries(state.parameters)) {
      const weightDecay = shape.length === 2 ? optimiser.weightDecay : 0;
      adamW(data, clipped[name], state.m[name], state.v[name], state.applied, {
        ...optimiser,
        weightDecay,
      });
    }
  }
  return { ...result, gradNorm, applied };
}
