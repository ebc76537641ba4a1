// Balance without a loss: how many rows each expert got, and the bias that a router's choice moves
// by. Nothing is read back.
//
// E experts.

import type { Placement, Recorder, Tensor } from '../gpu/program';
import type { ExpertOrder } from './experts';
import { kernel } from './sources';
import { scalarOf } from './tensors';

/** loads (E) u32 += the rows of each expert. */
export function expertLoads(
  recorder: Recorder,
  { starts }: Pick<ExpertOrder, 'starts'>,
  loads: Tensor,
  label?: string,
): void {
  const E = loads.layout.numel;
  const k = kernel(recorder.gpu, 'expert_loads');
  const cost = { label, flops: 2 * E };
  recorder.dispatch(k, { starts, loads }, { E }, [Math.ceil(E / 64)], cost);
}

/**
 * Moves a router's bias (E) f32 by `rate` towards the experts with fewer rows than the mean, unless
 * the step was rejected. `weights` (E) is the copy that the model computes with, if it has one;
 * `scaler` holds a Scaler (see sources.ts).
 * @param loads (E) u32: of the whole step
 */
export function moveRouterBias(
  recorder: Recorder,
  loads: Tensor,
  { bias, weights }: { bias: Tensor; weights?: Tensor },
  scaler: GPUBuffer | Placement,
  { rate, label }: { rate: number; label?: string },
): void {
  const E = loads.layout.numel;
  const k = kernel(recorder.gpu, 'router_bias', {
    aliases: { scalar: scalarOf(weights ?? bias) },
    constants: { COPY: Number(!!weights) },
  });
  const tensors = { scaler, loads, bias, ...(weights && { weights }) };
  recorder.dispatch(k, tensors, { E, rate }, [Math.ceil(E / 64)], { label, flops: E * E });
}
