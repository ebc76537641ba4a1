// The pairs that the page suggests: their parameters and memory are those of the models' own
// config.json, and their settings are valid.

import { expect, test } from 'vitest';
import { checkConfig } from '../../src/config';
import { parseConfig } from '../../src/model/families';
import { planArena } from '../../src/model/parameters';
import { costOf, PAIRS, settingsOf } from '../../src/pairs';

const llama = (hidden_size: number, num_hidden_layers: number, heads: [number, number]) => ({
  model_type: 'llama',
  hidden_size,
  num_hidden_layers,
  num_attention_heads: heads[0],
  num_key_value_heads: heads[1],
  intermediate_size: (hidden_size * 8) / 3,
  vocab_size: 49_152,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 100_000,
  hidden_act: 'silu',
  tie_word_embeddings: true,
});
const gpt2 = (n_layer: number) => ({
  model_type: 'gpt2',
  n_layer,
  n_embd: 768,
  n_head: 12,
  n_positions: 1024,
  vocab_size: 50_257,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
});
/** The fields that decide the sizes, as the hub has them. */
const CONFIGS: Record<string, object> = {
  'HuggingFaceTB/SmolLM2-360M-Instruct': llama(960, 32, [15, 5]),
  'HuggingFaceTB/SmolLM2-135M-Instruct': llama(576, 30, [9, 3]),
  'Qwen/Qwen3-0.6B': {
    ...llama(1024, 28, [16, 8]),
    model_type: 'qwen3',
    head_dim: 128,
    intermediate_size: 3072,
    vocab_size: 151_936,
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
  },
  'openai-community/gpt2': gpt2(12),
  'distilbert/distilgpt2': gpt2(6),
};

test.each(PAIRS.map((pair) => [`${pair.teacher}, ${JSON.stringify(pair.student)}`, pair] as const))(
  '%s: what it says of its sizes is so',
  (_, pair) => {
    const { teacher, student } = pair;
    const architectureOf = (name: string) => parseConfig(CONFIGS[name], name);
    const taught = architectureOf(teacher);
    const learning =
      typeof student === 'string'
        ? architectureOf(student)
        : taught.withLayers(student.layers.split(',').map(Number));
    expect(learning.vocabularySize === taught.vocabularySize).toBe(pair.kdLoss === undefined);
    const [large, small] = [taught, learning].map(
      ({ parameters }) => planArena(parameters).parameters,
    );
    expect(pair.parameters).toBe(small);
    expect(costOf(pair).memory).toBe(2 * large + 18 * small);
    // Stored in at least two bytes a parameter, and at most four with a head of its own.
    expect(costOf(pair).load).toBeGreaterThan(2 * large);
    expect(costOf(pair).load).toBeLessThan(4.5 * (large + small));
    expect(checkConfig(settingsOf(pair))).toEqual([]);
  },
);
