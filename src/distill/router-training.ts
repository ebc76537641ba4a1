// Which of a student's routers and other parameters train, and what is said of a student that has
// no routers.

import { type Config, DEFAULTS, twinConfig } from '../config';
import { ModelFileError } from '../files/download';
import type { Tensor } from '../gpu/program';
import { isOfRouter, routersOf } from '../model/experts';
import type { Architecture } from '../model/family';

/** Whether layers have experts. */
export const hasRouters = (model: Pick<Architecture, 'parameters'>): boolean =>
  routersOf(model).length > 0;

/** Settings that mean nothing to a student without routers. */
export const ROUTER_SETTINGS = [
  'router_balance',
  'router_z',
  'router_kd',
  'router_bias_rate',
  'train_router',
  'train_only_router',
] as const;

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

/** What the router settings say of which parameters train. */
type Trained = Pick<Config, 'train_router' | 'train_only_router'>;

const NO_ROUTERS =
  'train_only_router is on, but the student is a dense model without router layers: nothing ' +
  'would train. Use train_only_router=off, or a student with experts.';

/**
 * The student of which those parameters train that the settings say. Adapters train alone in any
 * case.
 * @throws ModelFileError if nothing would train
 */
export function withTrainedRouters(
  student: Architecture,
  { train_router, train_only_router }: Trained,
): Architecture {
  const only = train_only_router === 'on';
  if (only && !hasRouters(student)) throw new ModelFileError('model', NO_ROUTERS);
  if ((!only && train_router === 'on') || student.adapters)
    return { ...student, trains: undefined };
  return { ...student, trains: (role) => isOfRouter(role) === only };
}

/**
 * @param taught the logits of the teacher's routers, if our kernels run it
 * @throws ModelFileError where the student's routers shall learn from the teacher's and cannot
 */
export function requireRouters(
  { router_kd }: Pick<Config, 'router_kd'>,
  student: Pick<Architecture, 'parameters'>,
  taught: readonly Tensor[] = [],
): void {
  const own = routersOf(student).map(({ shape }) => shape[0]);
  // A dense student is warned instead: see `routerWarning`.
  if (router_kd === 0 || own.length === 0) return;
  const theirs = taught.map(({ layout }) => layout.shape[1]);
  if (own.join() === theirs.join()) return;
  const routers = (sizes: readonly number[]) =>
    sizes.length === 0 ? 'none' : `${sizes.length} of ${sizes[0]} experts`;
  throw new ModelFileError(
    'model',
    `router_kd is ${router_kd}, and the student’s routers do not fit the teacher’s. The student ` +
      `has ${routers(own)}, the teacher ${routers(theirs)} that can be read: it must have ` +
      'experts, run in Stillhouse’s kernels and not be cached, and the loss must have a teacher. ' +
      'Use router_kd=0.',
  );
}

/** @throws ModelFileError where routers' biases shall balance them, and there are none */
export function requireRouterBias(
  { router_bias_rate: rate }: Pick<Config, 'router_bias_rate'>,
  student: Pick<Architecture, 'parameters' | 'family'>,
): void {
  // A dense student is warned instead: see `routerWarning`.
  if (rate === 0 || !hasRouters(student)) return;
  if (student.parameters.some(({ role }) => role === 'router_bias')) return;
  throw new ModelFileError(
    'model',
    `router_bias_rate is ${rate}, and no bias takes part in the choice of experts of a ` +
      `${student.family.title}. Use router_balance, which every router takes; or a dots1, which ` +
      'a new student becomes with student_experts of 2 or more.',
  );
}
