// The reference models behind one call, so that a training step is written once.

import type { Numbers } from './arrays';
import { type RouterWeights, routerLosses } from './experts';
import {
  type GPT2Config,
  gpt2Backward,
  gpt2Forward,
  type Parameters,
  parameterShapes,
  type Weights,
} from './gpt2';
import { type LlamaConfig, llamaBackward, llamaForward, llamaShapes, routesOf } from './llama';

export type ModelConfig = GPT2Config | LlamaConfig;

const isLlama = (config: ModelConfig): config is LlamaConfig => 'num_key_value_heads' in config;

/**
 * Tokens (B, T) → logits (B, T, V), and what turns dlogits into the parameters' gradients. `starts`
 * (B, T) keeps attention and positions inside each document: see `gpt2Forward`.
 */
export function runModel(
  weights: Weights,
  config: ModelConfig,
  tokens: Numbers,
  B: number,
  T: number,
  starts?: Numbers,
): {
  logits: Float64Array;
  /** Of a model with experts. */
  routers?: { balance: number; z: number };
  /** `routers` weighs the losses of the routers. */
  backward(dlogits: Numbers, routers?: RouterWeights): Parameters;
} {
  if (isLlama(config)) {
    const forward = llamaForward(weights, config, tokens, B, T, starts);
    const backward = (dlogits: Numbers, routers?: RouterWeights) =>
      llamaBackward(weights, config, forward, dlogits, routers);
    const { experts } = config;
    const routers = experts && routerLosses(routesOf(forward.blocks), experts);
    return { logits: forward.logits, routers, backward };
  }
  const forward = gpt2Forward(weights, config, tokens, B, T, starts);
  const backward = (dlogits: Numbers) => gpt2Backward(weights, config, forward, dlogits);
  return { logits: forward.logits, backward };
}

/** A float64 copy. @throws if a parameter is missing or has another shape */
export function toParameters(weights: Weights, config: ModelConfig): Parameters {
  const shapes = isLlama(config) ? llamaShapes(config) : parameterShapes(config);
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => {
      const weight = weights[name];
      if (weight?.shape.join() !== shape.join()) {
        throw new Error(
          `toParameters: ${name} is (${weight?.shape.join(', ') ?? 'missing'}), not ` +
            `(${shape.join(', ')}). Check the config.`,
        );
      }
      return [name, { shape, data: Float64Array.from(weight.data) }];
    }),
  );
}
