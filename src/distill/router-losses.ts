// The losses of a student's routers: measured in every step, and minimised with the weights that
// the settings give them.

import { type Config, DEFAULTS, twinConfig } from '../config';
import type { Recorder, Tensor } from '../gpu/program';
import { routerLosses, routerLossesBackward } from '../kernels/router_losses';
import type { Architecture, RoutedLayer, RouterGradient } from '../model/family';

/** What each router's loss is multiplied by in the total; 0 only measures it. */
export interface RouterWeights {
  balance: number;
  z: number;
}

export const NO_ROUTER_WEIGHTS: RouterWeights = { balance: 0, z: 0 };

export const routerWeights = (
  config: Pick<Config, 'router_balance' | 'router_z'>,
): RouterWeights => ({ balance: config.router_balance, z: config.router_z });

/** Whether layers have experts. */
export const hasRouters = ({ parameters }: Pick<Architecture, 'parameters'>): boolean =>
  parameters.some(({ role }) => role === 'router');

/** Settings that mean nothing to a student without routers. */
const ROUTER_SETTINGS = ['router_balance', 'router_z'] as const;

/** What is said of router settings that a dense student cannot follow; undefined if it can. */
export function routerWarning(
  config: Config,
  student: Pick<Architecture, 'parameters'>,
): string | undefined {
  if (hasRouters(student)) return undefined;
  const configs = [config, twinConfig(config) ?? config];
  const asked = ROUTER_SETTINGS.filter((name) =>
    configs.some((one) => one[name] !== DEFAULTS[name]),
  );
  if (asked.length === 0) return undefined;
  return (
    'WARNING: No router layers found! Router training will not occur. The student is a dense ' +
    `model: none of its layers chooses among experts, so ${and.format(asked)} ` +
    `${asked.length > 1 ? 'have' : 'has'} nothing to act on.`
  );
}

const and = new Intl.ListFormat('en-GB');

/** Where the sums of the routers' losses lie, behind those of CE and KD. */
export const ROUTER_SUMS = { first: 2, count: 2 };

/**
 * Records the losses of a forward pass, which are added to `sums`. Returns what the backward pass
 * adds to the routers' gradients; undefined without routers.
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
): RouterGradient | undefined {
  if (routed.length === 0) return undefined;
  const statistics = routerLosses(recorder, routed, { sums, zero, first: ROUTER_SUMS.first });
  return (recorder, { layer, logits }, dlogits) => {
    const label = `layers.${layer}.router losses d`;
    routerLossesBackward(recorder, logits, statistics, dlogits, { step, scaler, label });
  };
}
