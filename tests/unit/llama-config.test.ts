// Config.json of the Llama family: the hub's models are read with the sizes that they are known
// for, and what would compute wrong numbers is refused by field and value.

import { describe, expect, test } from 'vitest';
import { ModelFileError } from '../../src/files/download';
import { readSafetensors } from '../../src/files/safetensors';
import { FAMILIES, parseConfig } from '../../src/model/families';
import { expertsOf, type LlamaConfig, windowOf } from '../../src/model/llama/config';
import { rotaryFrequencies } from '../../src/model/llama/rotation';
import { initialWeights } from '../../src/model/parameters';
import { loadWeights, saveWeights } from '../../src/model/weights';
import * as reference from '../../src/reference';
import { Random } from '../../src/tensor/random';
import { LLAMA_GOLDENS, readLlamaGolden } from '../llama-goldens';

const SMOLLM2 = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  attention_dropout: 0.0,
  hidden_act: 'silu',
  hidden_size: 576,
  initializer_range: 0.041666666666666664,
  intermediate_size: 1536,
  is_llama_config: true,
  max_position_embeddings: 8192,
  model_type: 'llama',
  num_attention_heads: 9,
  num_hidden_layers: 30,
  num_key_value_heads: 3,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_interleaved: false,
  rope_scaling: null,
  rope_theta: 100000,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  vocab_size: 49152,
};
const DOTS1 = {
  model_type: 'dots1',
  n_routed_experts: 4,
  n_shared_experts: 1,
  num_experts_per_tok: 2,
};
const QWEN = {
  hidden_act: 'silu',
  max_position_embeddings: 32768,
  max_window_layers: 28,
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  sliding_window: 32768,
  tie_word_embeddings: true,
  use_sliding_window: false,
  vocab_size: 151936,
};

/** Models of the hub, with transformers' number of parameters. */
const PUBLISHED: [name: string, parameters: number, config: Record<string, unknown>][] = [
  ['SmolLM2-135M', 134_515_008, SMOLLM2],
  [
    'Llama-3.2-1B',
    1_235_814_400,
    {
      model_type: 'llama',
      head_dim: 64,
      hidden_size: 2048,
      intermediate_size: 8192,
      max_position_embeddings: 131072,
      mlp_bias: false,
      num_attention_heads: 32,
      num_hidden_layers: 16,
      num_key_value_heads: 8,
      rms_norm_eps: 1e-5,
      rope_scaling: {
        factor: 32.0,
        high_freq_factor: 4.0,
        low_freq_factor: 1.0,
        original_max_position_embeddings: 8192,
        rope_type: 'llama3',
      },
      rope_theta: 500000.0,
      tie_word_embeddings: true,
      vocab_size: 128256,
    },
  ],
  [
    'Mistral-7B-v0.1',
    7_241_732_096,
    {
      model_type: 'mistral',
      hidden_size: 4096,
      intermediate_size: 14336,
      max_position_embeddings: 32768,
      num_attention_heads: 32,
      num_hidden_layers: 32,
      num_key_value_heads: 8,
      rms_norm_eps: 1e-5,
      rope_theta: 10000.0,
      sliding_window: 4096,
      tie_word_embeddings: false,
      vocab_size: 32000,
    },
  ],
  [
    'Qwen2.5-0.5B',
    494_032_768,
    {
      ...QWEN,
      model_type: 'qwen2',
      hidden_size: 896,
      intermediate_size: 4864,
      num_attention_heads: 14,
      num_hidden_layers: 24,
      num_key_value_heads: 2,
    },
  ],
  [
    'Qwen3-0.6B',
    596_049_920,
    {
      ...QWEN,
      model_type: 'qwen3',
      attention_bias: false,
      head_dim: 128,
      hidden_size: 1024,
      intermediate_size: 3072,
      num_attention_heads: 16,
      num_hidden_layers: 28,
      num_key_value_heads: 8,
      sliding_window: null,
    },
  ],
  [
    'SmolLM3-3B',
    3_075_098_624,
    {
      model_type: 'smollm3',
      hidden_size: 2048,
      intermediate_size: 11008,
      max_position_embeddings: 65536,
      num_attention_heads: 16,
      num_hidden_layers: 36,
      num_key_value_heads: 4,
      rope_theta: 5000000.0,
      rms_norm_eps: 1e-6,
      tie_word_embeddings: true,
      vocab_size: 128256,
    },
  ],
  [
    'Mixtral-8x7B',
    46_702_792_704,
    {
      model_type: 'mixtral',
      hidden_size: 4096,
      intermediate_size: 14336,
      max_position_embeddings: 32768,
      num_attention_heads: 32,
      num_experts_per_tok: 2,
      num_hidden_layers: 32,
      num_key_value_heads: 8,
      num_local_experts: 8,
      rms_norm_eps: 1e-5,
      rope_theta: 1000000.0,
      sliding_window: null,
      vocab_size: 32000,
    },
  ],
  [
    'Qwen3-30B-A3B',
    30_532_122_624,
    {
      model_type: 'qwen3_moe',
      decoder_sparse_step: 1,
      head_dim: 128,
      hidden_size: 2048,
      intermediate_size: 6144,
      max_position_embeddings: 40960,
      mlp_only_layers: [],
      moe_intermediate_size: 768,
      norm_topk_prob: true,
      num_attention_heads: 32,
      num_experts: 128,
      num_experts_per_tok: 8,
      num_hidden_layers: 48,
      num_key_value_heads: 4,
      rms_norm_eps: 1e-6,
      rope_theta: 1000000.0,
      sliding_window: null,
      use_sliding_window: false,
      vocab_size: 151936,
    },
  ],
];
const configOf = (fields: Record<string, unknown>) => parseConfig(fields).config as LlamaConfig;
const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b);

function refusal(fields: Record<string, unknown>): string {
  try {
    parseConfig(fields);
  } catch (error) {
    expect(error).toBeInstanceOf(ModelFileError);
    return (error as Error).message;
  }
  throw new Error('expected a refusal');
}

describe.each(PUBLISHED)('%s', (_, parameters, fields) => {
  test('has its parameters, matrices first', () => {
    const architecture = parseConfig(fields);
    const sizes = architecture.parameters.map(({ shape }) => size(shape));
    expect(sizes.reduce((a, b) => a + b)).toBe(parameters);
    const ranks = architecture.parameters.map(({ shape }) => shape.length);
    expect(ranks).toEqual([...ranks].sort((a, b) => b - a));
  });

  test('its config is read back as it is written, and as a checkpoint keeps it', () => {
    const architecture = parseConfig(fields);
    expect(parseConfig(architecture.formatConfig('float32', 0)).config).toEqual(
      architecture.config,
    );
    expect(parseConfig(architecture.config).config).toEqual(architecture.config);
  });
});

test('configs that version 5 of transformers writes are read with their tensors', () => {
  for (const name of LLAMA_GOLDENS) {
    const { config, named } = readLlamaGolden(name);
    const { parameters } = parseConfig(config);
    const shapes = Object.entries(named('before')).map(([key, { shape }]) => [key, shape]);
    expect(Object.fromEntries(parameters.map(({ name, shape }) => [name, shape]))).toEqual(
      Object.fromEntries(shapes),
    );
  }
});

test('windows and rotations are those of transformers', () => {
  const windows = (config: LlamaConfig) =>
    config.layer_types.map((_, layer) => windowOf(config, layer));
  const [, , [, , mistral], [, , qwen2], , [, , smollm3]] = PUBLISHED;
  expect(new Set(windows(configOf(mistral)))).toEqual(new Set([4096]));
  expect(new Set(windows(configOf({ ...mistral, sliding_window: null })))).toEqual(
    new Set([undefined]),
  );
  expect(new Set(windows(configOf(qwen2)))).toEqual(new Set([undefined]));
  const some = { ...qwen2, use_sliding_window: true, max_window_layers: 22 };
  expect(windows(configOf(some)).slice(21)).toEqual([undefined, 32768, 32768]);
  expect(configOf(smollm3).no_rope_layers.slice(0, 8)).toEqual([1, 1, 1, 0, 1, 1, 1, 0]);
  // Layers that are taken keep what they are.
  const kept = parseConfig(smollm3).withLayers([3, 4]).config as LlamaConfig;
  expect([kept.num_hidden_layers, kept.no_rope_layers]).toEqual([2, [0, 1]]);
});

test('rotations turn as fast as the reference’s', () => {
  for (const scaling of [
    null,
    { type: 'linear', factor: 4 } as const,
    configOf(PUBLISHED[1][2]).rope_scaling,
  ]) {
    const [actual, expected] = [
      rotaryFrequencies(64, 500000, scaling),
      reference.rotaryFrequencies(64, 500000, scaling),
    ];
    for (const [i, frequency] of expected.entries())
      expect(Math.abs(actual[i] / frequency - 1)).toBeLessThan(2 ** -23);
  }
});

test('what would compute wrong numbers is refused by field and value', () => {
  const yarn = { rope_type: 'yarn', factor: 4 };
  const refused: [fields: Record<string, unknown>, message: string][] = [
    [{ hidden_act: 'gelu' }, 'hidden_act is "gelu"; supported is silu'],
    [{ mlp_bias: true }, 'mlp_bias is true; supported is false'],
    [{ rope_scaling: yarn }, 'rope_scaling.rope_type is "yarn"; supported are default, linear'],
    [{ rope_parameters: yarn }, 'rope_parameters.rope_type is "yarn"'],
    [{ rope_scaling: { type: 'dynamic', factor: 2 } }, 'rope_scaling.rope_type is "dynamic"'],
    [{ rope_scaling: { type: 'linear' } }, 'rope_scaling.factor is missing'],
    [{ rope_scaling: 'linear' }, 'rope_scaling is "linear"; it must be an object'],
    [
      { rope_parameters: { full_attention: { rope_theta: 1e4 }, sliding_attention: {} } },
      'supported is one rotation for all layers',
    ],
    [{ partial_rotary_factor: 0.5 }, 'partial_rotary_factor is 0.5; supported is 1'],
    [{ rope_theta: 'fast' }, 'rope_theta is "fast"'],
    [{ quantization_config: { bits: 4 } }, 'quantization_config is {"bits":4}'],
    [{ rms_norm_eps: 0 }, 'rms_norm_eps is 0'],
    [{ num_key_value_heads: 2 }, 'num_key_value_heads is 2; it must divide num_attention_heads, 9'],
    [{ num_attention_heads: 7, num_key_value_heads: 7 }, 'must be a multiple of 4'],
    [{ head_dim: 6 }, 'is 6; it must be a multiple of 4'],
    [{ head_dim: [8] }, 'must be a multiple of 4'],
    [{ hidden_size: 570 }, 'hidden_size is 570; it must be a multiple of 4'],
    [{ intermediate_size: '1536' }, 'intermediate_size is "1536"'],
    [{ num_hidden_layers: 1e9 }, 'num_hidden_layers is 1000000000'],
    [{ tie_word_embeddings: 1 }, 'tie_word_embeddings is 1; it must be true or false'],
    [{ model_type: 'mistral', sliding_window: 0 }, 'sliding_window is 0'],
    [{ model_type: 'qwen2', layer_types: ['full_attention'] }, 'one of full_attention'],
    [{ model_type: 'smollm3', no_rope_layers: [1, 2] }, 'no_rope_layers is [1,2]'],
    [{ model_type: 'mixtral', router_jitter_noise: 0.1 }, 'router_jitter_noise is 0.1'],
    [
      { model_type: 'mixtral', num_local_experts: 2, num_experts_per_tok: 3 },
      'num_experts_per_tok is 3; it must be at most num_local_experts, 2',
    ],
    [{ model_type: 'olmoe', clip_qkv: 8 }, 'clip_qkv is 8; supported is null'],
    [{ ...DOTS1, n_group: 2 }, 'n_group is 2; supported is 1, a choice among all experts'],
    [{ ...DOTS1, routed_scaling_factor: 0 }, 'routed_scaling_factor is 0; it must be a positive'],
    [{ ...DOTS1, n_shared_experts: 0 }, 'n_shared_experts is 0; it must be a whole number from 1'],
    [{ ...DOTS1, first_k_dense_replace: -1 }, 'first_k_dense_replace is -1'],
    [{ model_type: 'qwen3_moe', mlp_only_layers: 1 }, 'mlp_only_layers is 1'],
    [{ model_type: 'qwen3_moe', norm_topk_prob: 1 }, 'norm_topk_prob is 1'],
  ];
  for (const [fields, message] of refused)
    expect(refusal({ ...SMOLLM2, ...fields })).toContain(message);
});

test('experts are in the layers that the config names, and a choice of layers keeps theirs', () => {
  const fields = { ...SMOLLM2, model_type: 'qwen3_moe', num_hidden_layers: 6 };
  const architecture = parseConfig({ ...fields, decoder_sparse_step: 2, mlp_only_layers: [3] });
  const withExperts = ({ config }: typeof architecture, layers: number) =>
    Array.from({ length: layers }, (_, layer) => layer).filter((layer) =>
      expertsOf(config as LlamaConfig, layer),
    );
  expect(withExperts(architecture, 6)).toEqual([1, 5]);
  expect(withExperts(architecture.withLayers([0, 1, 3, 5]), 4)).toEqual([1, 3]);
});

test('a new model of each dialect has the sizes asked for, and its weights are read back', () => {
  const sizes = { vocabularySize: 50, contextWindow: 16, width: 24, layers: 4, heads: 2 };
  for (const family of FAMILIES) {
    const architecture = family.create(sizes);
    expect(architecture).toMatchObject(sizes);
    expect(parseConfig(architecture.formatConfig('float16')).config).toEqual(architecture.config);
    const weights = initialWeights(architecture.parameters, new Random(1));
    const file = saveWeights(architecture, weights);
    const read = readSafetensors(file, 'model.safetensors');
    expect(loadWeights(read, architecture, 'model.safetensors')).toEqual(weights);
  }
});
