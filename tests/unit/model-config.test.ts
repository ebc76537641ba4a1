// A GPT-2's config.json: the fields that are read, the refusals with their reasons, and the
// parameters that follow.

import { expect, test } from 'vitest';
import { ModelFileError } from '../../src/files/download';
import { parseConfig } from '../../src/model/families';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';

const published = {
  model_type: 'gpt2',
  vocab_size: 50257,
  n_positions: 1024,
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
};
const { model_type: _, ...config } = published;

function refusal(json: unknown): string {
  try {
    parseConfig(json);
  } catch (error) {
    expect(error).toBeInstanceOf(ModelFileError);
    return (error as Error).message;
  }
  throw new Error('expected a refusal');
}

test('a written config is read back, and defaults are GPT-2’s', () => {
  const written = gpt2(config as Gpt2Config).formatConfig('float32');
  expect(parseConfig(written).config).toEqual(config);
  const { layer_norm_epsilon: _epsilon, activation_function: _activation, ...bare } = published;
  expect(parseConfig(bare).config).toEqual(config);
  expect(parseConfig({ ...published, activation_function: 'gelu_pytorch_tanh' }).config).toEqual(
    config,
  );
});

test('GPT-2 small has 148 parameters of 124,439,808 values, matrices first', () => {
  const { parameters } = parseConfig(published);
  const total = parameters.reduce(
    (sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1),
    0,
  );
  expect([parameters.length, total]).toEqual([148, 124_439_808]);
  const ranks = parameters.map(({ shape }) => shape.length);
  expect(ranks).toEqual([...ranks].sort((a, b) => b - a));
});

test('the hub’s configs of DistilGPT2 and DialoGPT are read, with all their other fields', () => {
  const others = {
    architectures: ['GPT2LMHeadModel'],
    attn_pdrop: 0.1,
    embd_pdrop: 0.1,
    resid_pdrop: 0.1,
    n_ctx: 1024,
    bos_token_id: 50256,
    eos_token_id: 50256,
    initializer_range: 0.02,
    _num_labels: 1,
    output_past: true,
    id2label: { 0: 'LABEL_0' },
    label2id: { LABEL_0: 0 },
    summary_activation: null,
    summary_use_proj: true,
    summary_first_dropout: 0.1,
    summary_proj_to_labels: true,
    summary_type: 'cls_index',
    task_specific_params: { 'text-generation': { do_sample: true, max_length: 50 } },
  };
  const { layer_norm_epsilon: _epsilon, ...rest } = published;
  expect(parseConfig({ ...rest, ...others, layer_norm_epsilon: 1e-5, n_layer: 6 }).config).toEqual({
    ...config,
    n_layer: 6,
  });
  const medium = { n_embd: 1024, n_head: 16, n_layer: 24 };
  const dialogue = {
    task_specific_params: { conversational: { max_length: 1000 } },
    n_inner: null,
  };
  expect(parseConfig({ ...published, ...others, ...dialogue, ...medium }).config).toEqual({
    ...config,
    ...medium,
  });
});

test('a config that would compute wrong numbers is refused by field and value', () => {
  expect(refusal({ ...published, model_type: 'gemma' })).toContain(
    'model_type is "gemma"; Stillhouse reads "gpt2", "llama", "mistral", ',
  );
  expect(refusal({ ...published, activation_function: 'relu' })).toContain(
    'activation_function is "relu"; supported are gelu_new',
  );
  expect(refusal({ ...published, n_inner: 100 })).toContain('n_inner is 100; supported is 3072');
  expect(refusal({ ...published, scale_attn_by_inverse_layer_idx: true })).toContain(
    'scale_attn_by_inverse_layer_idx is true',
  );
  expect(refusal({ ...published, reorder_and_upcast_attn: true })).toContain(
    'supported is false, as in GPT-2 itself',
  );
  expect(refusal({ ...published, layer_norm_epsilon: '1e-5' })).toContain(
    'layer_norm_epsilon is "1e-5"',
  );
});

test('sizes must be integers in range, and divide into heads of a multiple of 4', () => {
  expect(refusal({ ...published, n_layer: undefined })).toContain(
    'n_layer is missing; it must be a whole number from 1 to 256',
  );
  for (const n_layer of [0, -1, 1.5, '12', 1e9, null, NaN])
    expect(refusal({ ...published, n_layer })).toContain('n_layer is');
  expect(refusal({ ...published, n_head: 7 })).toContain(
    'n_embd 768 over n_head 7 does not divide evenly. Choose n_embd as a multiple of 28',
  );
  expect(refusal({ ...published, n_embd: 72 })).toContain(
    'heads of size 6, which is not a multiple of 4',
  );
});

test('a config that is not an object is refused', () => {
  for (const json of [null, [], 'gpt2', 3, undefined])
    expect(refusal(json)).toContain('expected an object');
  expect(refusal(Object.create(published))).toContain('model_type is missing');
});
