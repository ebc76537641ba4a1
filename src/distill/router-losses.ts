// The losses of a student's routers: measured in every step, and minimised with the weights that
// the settings give them.

import type { Config } from '../config';
import type { Recorder, Tensor } from '../gpu/program';
import { routerLosses, routerLossesBackward } from '../kernels/router_losses';
import type { RoutedLayer, RouterGradient } from '../model/family';

/** What each router's loss is multiplied by in the total; 0 only measures it. */
export interface RouterWeights {
  balance: number;
  z: number;
  kd: number;
}

export const NO_ROUTER_WEIGHTS: RouterWeights = { balance: 0, z: 0, kd: 0 };

export const routerWeights = (
  config: Pick<Config, 'router_balance' | 'router_z' | 'router_kd'>,
): RouterWeights => ({
  balance: config.router_balance,
  z: config.router_z,
  kd: config.router_kd,
});

/** Where the sums of the routers' losses lie, behind those of CE and KD. */
export const ROUTER_SUMS = { first: 2, count: 3 };

/**
 * Records the losses of a forward pass, which are added to `sums`. Returns what the backward pass
 * adds to the routers' gradients; undefined without routers.
 * @param taught the logits (B·T, E) f32 of the teacher's routers, if the student's learn from them
 */
export function recordRouterLosses(
  recorder: Recorder,
  {
    sums,
    zero,
    step,
    scaler,
  }: Record<'sums' | 'zero', Tensor> & Record<'step' | 'scaler', GPUBuffer>,
  routed: readonly RoutedLayer[] = [],
  taught: readonly Tensor[] = [],
): RouterGradient | undefined {
  if (routed.length === 0) return undefined;
  const layers = routed.map((made, i) => ({ ...made, teacher: taught.at(i) }));
  const statistics = routerLosses(recorder, layers, { sums, zero, first: ROUTER_SUMS.first });
  return (recorder, { layer, logits }, dlogits) => {
    const teacher = layers.find((made) => made.layer === layer)?.teacher;
    const label = `layers.${layer}.router losses d`;
    routerLossesBackward(recorder, { logits, teacher }, statistics, dlogits, {
      step,
      scaler,
      label,
    });
  };
}
