// How a student's experts are used, in figures and in words. Pure.

import type { ExpertUse } from '../distill/records';
import { percent } from './words';

/** The experts that no token of the evaluation chose. */
export const deadExperts = ({ load }: Pick<ExpertUse, 'load'>): number[] =>
  load.flatMap((share, expert) => (share === 0 ? [expert] : []));

/** The router's mean entropy as a share of ln E: 1 if it prefers no expert, 0 if it is certain. */
export const relativeEntropy = ({ entropy, load }: ExpertUse): number =>
  entropy / Math.log(load.length);

/** "expert 3", "experts 0 and 3", "experts 0, 1 and 3" */
export function named(experts: readonly number[]): string {
  const [others, last] = [experts.slice(0, -1).join(', '), experts.at(-1)];
  return others === '' ? `expert ${last}` : `experts ${others} and ${last}`;
}

/** A layer's line in a log. */
export function useText(use: ExpertUse): string {
  const { layer, load } = use;
  const dead = deadExperts(use);
  const are = dead.length === 1 ? 'is' : 'are';
  return (
    `Layer ${layer}: experts take ${load.map(percent).join(', ')} of the choices; router entropy ` +
    `${relativeEntropy(use).toFixed(2)} of ln ${load.length}` +
    `${dead.length > 0 ? `; ${named(dead)} ${are} dead` : ''}.`
  );
}
