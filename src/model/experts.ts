// Experts, whatever the family: how many parameters a token meets, and weights for experts that are
// made of a dense model ("upcycling").

import type { Architecture } from './family';
import { type Parameter, planArena, type Role, type WeightSink } from './parameters';

/** The parameters that a token's pass reads: of a layer's experts only those that it chooses. */
export function activeParameters({ parameters, experts }: Architecture): number {
  const plan = planArena(parameters);
  if (!experts) return plan.parameters;
  const all = [...plan.tensors.values()]
    .filter(({ role }) => role === 'expert')
    .reduce((sum, { size }) => sum + size, 0);
  return plan.parameters - all + (all * experts.perToken) / experts.count;
}

/** Whether a parameter belongs to a router: its matrix, or the bias of its choice. */
export const isOfRouter = (role: Role): boolean => role === 'router' || role === 'router_bias';

/** The routers: what a model with experts has, and the dense one that it is made of has not. */
export const routersOf = ({ parameters }: Pick<Architecture, 'parameters'>): Parameter[] =>
  parameters.filter(({ role }) => role === 'router');

/** Takes a dense model's weights; each of a perceptron goes to `sink` once for each expert. */
export function copiedToExperts(
  { parameters }: Pick<Architecture, 'parameters'>,
  sink: WeightSink,
): WeightSink {
  const copies = new Map<string, string[]>();
  for (const { name, copyOf } of parameters)
    if (copyOf) copies.set(copyOf, [...(copies.get(copyOf) ?? []), name]);
  return async (name, first, values) => {
    for (const copy of copies.get(name) ?? [name]) await sink(copy, first, values);
  };
}
