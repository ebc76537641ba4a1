// A text that grows token by token, of whose earlier tokens keys and values are kept: the logits of
// each next token against the slow twin's full pass over the last T tokens, in all families.
// Tolerances are those of evaluate.test.ts, for its reasons.

import { describe, expect } from 'vitest';
import { Sampler } from '../../src/distill/sample';
import type { Gpu } from '../../src/gpu/device';
import { Pool } from '../../src/gpu/program';
import { parseConfig } from '../../src/model/families';
import type { Architecture } from '../../src/model/family';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { Arena, planArena } from '../../src/model/parameters';
import * as reference from '../../src/reference';
import { type LLAMA_GOLDENS, readLlamaGolden, referenceConfig } from '../llama-goldens';
import { referenceWeights, TINY, weightsOf } from './students';
import { type Storage, stored, testVariants } from './variants';

const LIMIT: Record<Storage, number> = { f32: 1e-5, f16: 1e-2 };
/** Longer than the windows of all models. */
const T = 7;
/** It grows past T, begins anew with tokens that are known, and takes another turn. */
const TEXT = Uint32Array.from({ length: T + 3 }, (_, i) => (i * 11 + 5) % 37);
const TEXTS = [
  ...Array.from(TEXT, (_, i) => TEXT.slice(0, i + 1)),
  ...[4, 5, 6, 3].map((length) => TEXT.slice(0, length)),
  Uint32Array.of(...TEXT.slice(0, 3), 36),
];

type Weights = ReadonlyMap<string, Float32Array>;

interface Model {
  architecture: Architecture;
  weights: Weights;
  /** The slow twin's logits of the token that follows. */
  truth(weights: Weights, tokens: Uint32Array): reference.Numbers;
}

function llamaModel(name: (typeof LLAMA_GOLDENS)[number]): Model {
  const golden = readLlamaGolden(name);
  const before = golden.named('before');
  const config = referenceConfig(golden.config);
  return {
    architecture: parseConfig(golden.config),
    // Numbers that f16 has.
    weights: new Map(
      Object.entries(before).map(([name, { data }]) => [
        name,
        Float32Array.from(stored(Float64Array.from(data), 'f16')),
      ]),
    ),
    truth(weights, tokens) {
      const all = Object.fromEntries(
        [...weights].map(([name, data]) => [name, { shape: before[name].shape, data }]),
      );
      const { logits } = reference.llamaForward(all, config, tokens, 1, tokens.length);
      return logits.slice(-config.vocab_size);
    },
  };
}

const MODELS: Record<string, () => Model> = {
  gpt2: () => ({
    architecture: gpt2(TINY),
    weights: weightsOf(TINY),
    truth(weights, tokens) {
      const all = referenceWeights(TINY, weights);
      const { logits } = reference.gpt2Forward(all, TINY, tokens, 1, tokens.length);
      return logits.slice(-TINY.vocab_size);
    },
  }),
  // Windows, norms of each head, and layers without rotation.
  ...Object.fromEntries(
    (['mistral', 'qwen3', 'smollm3'] as const).map((name) => [name, () => llamaModel(name)]),
  ),
};

async function holdAgainst(gpu: Gpu, dtype: Storage, { architecture, weights, truth }: Model) {
  const pool = new Pool(gpu);
  const arena = new Arena(gpu, planArena(architecture.parameters), dtype, 'weights', 'model');
  arena.write(weights);
  const sampler = Sampler.create(gpu, pool, architecture.withWeights(arena), T);
  const voice = sampler.voice();
  for (const tokens of TEXTS) {
    const error = reference.relativeError(await voice(tokens), truth(weights, tokens.slice(-T)));
    expect(error, `after ${tokens}`).toBeLessThan(LIMIT[dtype]);
  }

  // With other weights, what is kept is out of date: a voice from before speaks from it, a new one
  // does not.
  await voice(TEXT.slice(0, 4));
  const others = new Map([...weights].map(([name, data]) => [name, data.map((w) => 1.25 * w)]));
  arena.write(others);
  const five = TEXT.slice(0, 5);
  const expected = truth(others, five);
  const errorOf = async (speak: typeof voice) =>
    reference.relativeError(await speak(five), expected);
  expect(await errorOf(voice)).toBeGreaterThan(2 * LIMIT.f16);
  expect(await errorOf(sampler.voice())).toBeLessThan(LIMIT[dtype]);
  for (const resource of [sampler, arena, pool]) resource.destroy();
}

describe.each(Object.keys(MODELS))('%s', (name) => {
  testVariants(
    'each next token has the logits of a pass over all tokens',
    (gpu, dtype) => holdAgainst(gpu, dtype, MODELS[name]()),
    ['one lane'],
  );
});
