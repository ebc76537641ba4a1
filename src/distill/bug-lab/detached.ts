// The fault of a detached loss: it is computed, and no gradient flows back from it.

import type { Architecture, LanguageModel } from '../../model/family';

/** The architecture, whose models leave out their backward passes. */
export const detached = (architecture: Architecture): Architecture => ({
  ...architecture,
  withWeights: (weights) => withoutBackward(architecture.withWeights(weights)),
});

const withoutBackward = (model: LanguageModel): LanguageModel => ({
  architecture: model.architecture,
  weights: model.weights,
  forward: (...args) => model.forward(...args),
  head: (...args) => model.head(...args),
  headBackward: () => {},
  backward: () => {},
});
