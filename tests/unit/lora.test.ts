// Which layers get adapters, under which names, and how PEFT's files describe them. That PEFT loads
// them is in tests/python.

import { expect, test } from 'vitest';
import { checkConfig, DEFAULTS } from '../../src/config';
import { peftFiles } from '../../src/distill/export/peft';
import { stepFlops } from '../../src/distill/step-flops';
import { parseConfig } from '../../src/model/families';
import { mergedParameter, trainedParameters, withAdapters } from '../../src/model/lora';
import { initialWeights, planArena } from '../../src/model/parameters';
import { Random } from '../../src/tensor/random';

const GPT2 = parseConfig({
  model_type: 'gpt2',
  vocab_size: 11,
  n_embd: 8,
  n_layer: 2,
  n_head: 2,
  n_positions: 16,
});
const LLAMA = parseConfig({
  model_type: 'llama',
  vocab_size: 11,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 16,
});

test('names choose layers as PEFT does: a module’s name, or its end', () => {
  const names = (targets: string) =>
    withAdapters(GPT2, { rank: 2, alpha: 4, targets })
      .adapters?.parameters.filter(({ layer }) => layer === 0)
      .map(({ name }) => name);
  expect(names('mlp.c_proj')).toEqual([
    'h.0.mlp.c_proj.lora_A.weight',
    'h.0.mlp.c_proj.lora_B.weight',
  ]);
  expect(names('c_proj')).toHaveLength(4);
  expect(names('all-linear')).toHaveLength(8);
  expect(() => names('c_attn,q_proj')).toThrow(
    'lora_targets names "q_proj", and no linear layer of this GPT-2 ends with it. ' +
      'It has c_attn, c_proj, c_fc; all-linear means all of them.',
  );
});

test('A is drawn as Kaiming’s uniform, B is 0: the first step is the model’s own', async () => {
  const adapted = withAdapters(LLAMA, { rank: 3, alpha: 6, targets: 'q_proj,v_proj' });
  const parameters = adapted.adapters?.parameters ?? [];
  expect(
    parameters.map(({ name, shape, joined }) => [name.split('.').slice(3, 5), shape, joined]),
  ).toEqual([
    [['q_proj', 'lora_A'], [3, 8], undefined],
    [['v_proj', 'lora_A'], [3, 8], true],
    [['q_proj', 'lora_B'], [8, 3], undefined],
    [['v_proj', 'lora_B'], [4, 3], undefined],
  ]);
  expect(trainedParameters(adapted)).toBe(24 + 24 + 24 + 12);
  const values = initialWeights([...LLAMA.parameters, ...parameters], new Random(1));
  const a = values.get(parameters[0].name) as Float32Array;
  const largest = Math.max(...a.map(Math.abs));
  expect(largest).toBeLessThanOrEqual(1 / Math.sqrt(8));
  expect(largest).toBeGreaterThan(0.8 / Math.sqrt(8));
  const read = async (name: string) => Float32Array.from(values.get(name) as Float32Array);
  const name = 'layers.0.self_attn.q_proj.weight';
  expect(await mergedParameter(adapted, name, read)).toEqual(values.get(name));
  // One number of B adds alpha / rank times it times a row of A.
  (values.get(parameters[2].name) as Float32Array)[4] = 5;
  const merged = await mergedParameter(adapted, name, read);
  const row = [...(values.get(name) as Float32Array)].slice(8, 16);
  expect([...merged].slice(8, 16)).toEqual(
    row.map((value, i) => expect.closeTo(value + 2 * 5 * a[8 + i], 5)),
  );
});

test.each([
  [GPT2, 'c_attn', 'base_model.model.transformer.h.0.attn.c_attn.lora_A.weight', true],
  [LLAMA, 'o_proj', 'base_model.model.model.layers.0.self_attn.o_proj.lora_A.weight', false],
])('PEFT’s files name the modules of transformers', (architecture, targets, first, fanInFirst) => {
  const adapted = withAdapters(architecture, { rank: 2, alpha: 4, targets });
  const [[configName, [json]], [tensorsName, [header]]] = peftFiles(adapted, 'org/base');
  expect([configName, tensorsName]).toEqual([
    'adapter/adapter_config.json',
    'adapter/adapter_model.safetensors',
  ]);
  const text = (piece: unknown) => new TextDecoder().decode(piece as Uint8Array);
  expect(JSON.parse(text(json))).toMatchObject({
    base_model_name_or_path: 'org/base',
    fan_in_fan_out: fanInFirst,
    r: 2,
    lora_alpha: 4,
    target_modules: [targets],
  });
  expect(text(header)).toContain(`"${first}"`);
});

test('without adapters there are no files of them', () => {
  expect(peftFiles(GPT2, undefined)).toEqual([]);
});

test('a new student has nothing to keep frozen', () => {
  expect(checkConfig({ ...DEFAULTS, lora_rank: 8 })).toEqual([
    'lora_rank is 8, but student_model is empty: a new student has nothing to keep frozen. ' +
      'Give student_model a model, or use lora_rank=0.',
  ]);
});

test('a step takes two operations a token and parameter in each pass that it is in', () => {
  const config = { ...DEFAULTS, batch_size: 2, max_length: 4, gradient_accumulation: 3 };
  const N = planArena(GPT2.parameters).parameters;
  const tokens = 24;
  // Forward, backward to the inputs and to the weights; the teacher's forward.
  expect(stepFlops(config, GPT2, 100)).toBe(tokens * (6 * N + 200));
  expect(stepFlops({ ...config, loss: 'ce' }, GPT2, 100)).toBe(tokens * 6 * N);
  const recomputed = { ...config, gradient_checkpointing: 'on' } as const;
  expect(stepFlops(recomputed, GPT2, 100)).toBe(tokens * (8 * N + 200));
  // No gradient of frozen weights.
  const adapted = withAdapters(GPT2, { rank: 2, alpha: 4, targets: 'c_attn' });
  expect(stepFlops(config, adapted, 100)).toBe(
    tokens * (4 * N + 2 * trainedParameters(adapted) + 200),
  );
});
