// The optimiser's launchers: the gradient's norm, the decision about the step, AdamW. All on the GPU; nothing is read back.

import { kernel } from '../gpu/kernel';
import type { Placement, Recorder } from '../gpu/program';
import adamwWgsl from './adamw.wgsl?raw';
import gradientNormWgsl from './gradientNorm.wgsl?raw';
import lossScalerWgsl from './lossScaler.wgsl?raw';
import { elementGrid } from './tensors';

/** Bytes of the scaler's state; see struct Scaler in lossScaler.wgsl. */
export const SCALER_BYTES = 40;
/** Good steps after which the loss scale doubles, as in PyTorch's GradScaler. */
const GROWTH_INTERVAL = 2000;
/** Partial sums of the gradient's norm: few enough for one thread to add up. */
export const NORM_PARTIALS = 256;

export interface AdamW {
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Applied to the first range only. */
  weightDecay: number;
  /** Global norm above which the gradient is scaled down; 0 never clips. */
  maxGradNorm: number;
  /** Whether the loss scale adapts. */
  dynamicScale: boolean;
}

/** f32 arenas of one plan, and the working copy that the optimiser writes. */
export interface OptimiserBuffers {
  gradients: Placement;
  master: Placement;
  mean: Placement;
  square: Placement;
  /** The f16 copy of the master weights; absent where the kernels read the master weights themselves. */
  halves?: Placement;
}

/**
 * One optimiser step over arenas of `count` elements, of which the first `decayed` get weight decay.
 * `step` is the uniform { learning_rate, temperature, alpha, inverse_tokens }; `partials` holds NORM_PARTIALS × 2 f32.
 */
export function optimiserStep(
  recorder: Recorder,
  buffers: OptimiserBuffers,
  { step, scaler, partials, unused }: Record<'step' | 'scaler' | 'partials' | 'unused', GPUBuffer>,
  { count, decayed }: { count: number; decayed: number },
  adam: AdamW,
): void {
  const { gpu } = recorder;
  const { beta1, beta2, epsilon, weightDecay, maxGradNorm, dynamicScale } = adam;
  const groups = Math.min(NORM_PARTIALS, Math.ceil(count / 64));
  recorder.dispatch(
    kernel(gpu, 'gradientNorm', gradientNormWgsl),
    { scaler, gradients: buffers.gradients, partials },
    { count, first: 0 },
    [groups],
  );
  recorder.dispatch(
    kernel(gpu, 'lossScaler', lossScalerWgsl),
    { step, partials, scaler },
    { count: groups, dynamic: Number(dynamicScale), interval: GROWTH_INTERVAL, max_norm: maxGradNorm, beta1, beta2 },
    [1],
  );
  const adamw = kernel(gpu, 'adamw', adamwWgsl, {
    aliases: { scalar: buffers.halves ? 'f16' : 'f32' },
    constants: { COPY: Number(!!buffers.halves) },
  });
  for (const [first, last, decay] of [
    [0, decayed, weightDecay],
    [decayed, count, 0],
  ]) {
    const range = (place: Placement, size: number): Placement => ({
      ...place,
      offset: place.offset + first * size,
      bytes: (last - first) * size,
    });
    recorder.dispatch(
      adamw,
      {
        ...{ step, scaler },
        gradients: range(buffers.gradients, 4),
        master: range(buffers.master, 4),
        mean: range(buffers.mean, 4),
        square: range(buffers.square, 4),
        weights: buffers.halves ? range(buffers.halves, 2) : unused,
      },
      { count: last - first, beta1, beta2, epsilon, decay },
      elementGrid(gpu, last - first),
    );
  }
}
