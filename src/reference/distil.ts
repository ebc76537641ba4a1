// One training step of a distillation: losses and gradients, clipping, AdamW.

import { add, contiguous, type Numbers } from './arrays';
import type { RouterWeights } from './experts';
import type { Parameters, Weights } from './gpt2';
import { distillationLoss, type LossOptions } from './losses';
import { type ModelConfig, runModel } from './model';
import { type AdamWOptions, adamW, clipGradients } from './optimiser';

export interface DistilBatch {
  B: number;
  T: number;
  inputs: Numbers; // (B, T)
  targets: Numbers; // (B, T)
  /** (B, T): where in its row each token's document begins; without it a row is one document. */
  starts?: Numbers;
  /** (B, T, V); not needed for the loss `ce`. */
  teacherLogits?: Numbers;
}

export interface LossAndGradients {
  loss: number;
  ce: number;
  /** Without T². */
  kd: number;
  /** The losses of the routers, if layers have experts: means over the batches. */
  routers?: { balance: number; z: number };
  /** Before clipping. */
  gradients: Parameters;
  /** Targets that are not ignored. */
  valid: number;
}

/** `routers` weighs the losses of the routers, which are otherwise only measured. */
export type DistilOptions = LossOptions & { routers?: RouterWeights };

/**
 * Loss and gradients of a step over one batch or several. Sums over all batches are divided by the
 * valid targets of all batches; `options.denominator` is ignored.
 */
export function lossAndGradients(
  weights: Weights,
  config: ModelConfig,
  batches: readonly DistilBatch[],
  { routers: routerWeights = { balance: 0, z: 0 }, ...options }: DistilOptions,
): LossAndGradients {
  const ignoreIndex = options.ignoreIndex ?? -100;
  const valid = batches.reduce(
    (sum, { targets }) => sum + Array.from(targets).filter((t) => t !== ignoreIndex).length,
    0,
  );
  const results = batches.map(
    ({ B, T, inputs, targets, starts, teacherLogits }): LossAndGradients => {
      const shape = [B, T, config.vocab_size];
      const { logits, routers, backward } = runModel(weights, config, inputs, B, T, starts);
      const { loss, ce, kd, gradient } = distillationLoss(
        { ...options, denominator: valid },
        contiguous(logits, shape),
        teacherLogits && contiguous(teacherLogits, shape),
        contiguous(targets, [B, T]),
      );
      const share = (value: number) => value / batches.length;
      const shares = { balance: share(routerWeights.balance), z: share(routerWeights.z) };
      return {
        loss: loss + (routers ? shares.balance * routers.balance + shares.z * routers.z : 0),
        ce,
        kd,
        ...(routers && { routers: { balance: share(routers.balance), z: share(routers.z) } }),
        gradients: backward(gradient, shares),
        valid,
      };
    },
  );
  return results.reduce((sum, result) => ({
    loss: sum.loss + result.loss,
    ce: sum.ce + result.ce,
    kd: sum.kd + result.kd,
    ...(sum.routers &&
      result.routers && {
        routers: {
          balance: sum.routers.balance + result.routers.balance,
          z: sum.routers.z + result.routers.z,
        },
      }),
    gradients: Object.fromEntries(
      Object.entries(sum.gradients).map(([name, { shape, data }]) => [
        name,
        { shape, data: add(data, result.gradients[name].data) },
      ]),
    ),
    valid,
  }));
}

/** Parameters, AdamW's moments m and v under the same names, and the steps applied so far. */
export interface DistilState {
  parameters: Parameters;
  m: Record<string, Float64Array>;
  v: Record<string, Float64Array>;
  applied: number;
}

/** The state before the first step: moments of zero. */
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
  /** False if a gradient is not finite or no target is valid. The state is then unchanged. */
  applied: boolean;
}

/** One step, in place. Only parameters of rank 2 decay. A `maxGradNorm` of 0 never clips. */
export function distilStep(
  state: DistilState,
  config: ModelConfig,
  batches: readonly DistilBatch[],
  loss: DistilOptions,
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
