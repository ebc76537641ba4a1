// The pairs that the page suggests: their parameters and memory are those of the models' own
// config.json, and their settings are valid. And pairs that are none.

import { describe, expect, test } from 'vitest';
import { type Config, checkConfig, DEFAULTS } from '../../src/config';
import type { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import { initialWeights, planArena } from '../../src/model/parameters';
import { saveWeights } from '../../src/model/weights';
import { costOf, PAIRS, settingsOf } from '../../src/pairs';
import { Random } from '../../src/tensor/random';
import { openModels } from '../../src/worker/models';
import { readGoldenJson } from '../safetensors-fixture';

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
const gpt2 = (n_layer: number, n_embd = 768) => ({
  model_type: 'gpt2',
  n_layer,
  n_embd,
  n_head: n_embd / 64,
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
  'microsoft/DialoGPT-medium': gpt2(24, 1024),
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

describe('an impossible pair is refused before a byte of its weights is read', () => {
  const { tokenizers } = readGoldenJson<{ tokenizers: Record<string, Record<string, object>> }>(
    'chat.json',
  );
  const json = (value: object) => new Blob([JSON.stringify(value)]);
  /** Weights of which more than the header was read. */
  const read: string[] = [];
  class Weights extends Blob {
    constructor(
      readonly stored: Uint8Array<ArrayBuffer>,
      readonly header: number,
    ) {
      super([stored]);
    }
    override slice(from = 0, to = this.size): Blob {
      if (to > this.header) read.push(`${from} to ${to}, of which ${this.header} are the header`);
      return new Blob([this.stored.subarray(from, to)]);
    }
  }
  const SMALL = { vocab_size: 400, n_layer: 1, n_embd: 64, n_head: 1, n_positions: 32 };
  const GPT2 = { model_type: 'gpt2', layer_norm_epsilon: 1e-5, activation_function: 'gelu_new' };
  /** A model's folder; `tokens`: whose tokenizer it has. */
  const model = (changes: object, tokens: string) => {
    const architecture = parseConfig({ ...GPT2, ...SMALL });
    const bytes = saveWeights(architecture, initialWeights(architecture.parameters, new Random(1)));
    const header = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    return new Map<string, Blob>([
      ['config.json', json({ ...GPT2, ...SMALL, ...changes })],
      ['tokenizer.json', json(tokenizers[tokens].json)],
      ['tokenizer_config.json', json(tokenizers[tokens].config)],
      ['model.safetensors', new Weights(bytes, header)],
      ['onnx/model.onnx', json({})],
    ]);
  };
  const without = (files: ReadonlyMap<string, Blob>, name: string) =>
    new Map([...files].filter(([file]) => file !== name));
  const own = model({}, 'gpt2');

  test.each<[string, [teacher: typeof own, student: typeof own], Partial<Config>, RegExp]>([
    ['sizes differ', [own, model({ vocab_size: 900 }, 'gpt2')], {}, /900 tokens, the teacher/],
    ['tokens differ', [own, model({}, 'smollm2')], {}, /^Token \d+ is .* loss=uld/],
    [
      'tokens differ for a twin’s loss',
      [own, model({}, 'smollm2')],
      { loss: 'gold', twin: 'loss=fkl' },
      /^Token \d+ is .* loss=uld/,
    ],
    [
      'ONNX cannot learn',
      [own, without(own, 'model.safetensors')],
      {},
      /has no model\.safetensors/,
    ],
    [
      'a field of the student’s is not supported',
      [own, model({ activation_function: 'quick_gelu' }, 'gpt2')],
      {},
      /activation_function is "quick_gelu"/,
    ],
    [
      'no engine runs the teacher',
      [without(model({ model_type: 'gemma' }, 'gpt2'), 'onnx/model.onnx'), own],
      {},
      /of type "gemma" and has no onnx\/model\.onnx/,
    ],
    [
      'LoRA finds no layer of that name',
      [own, own],
      { lora_rank: 4, lora_targets: 'q_proj' },
      /lora_targets/,
    ],
  ])('%s', async (_, [teacher, student], settings, said) => {
    read.length = 0;
    const opening = openModels(
      { ...DEFAULTS, teacher_model: 'files', student_model: 'files', ...settings },
      { adapter: { f16: false } } as Gpu,
      {
        files: { teacher, student },
        base: new URL('http://page/'),
        stage: () => {},
        note: () => {},
      },
    );
    await expect(opening).rejects.toThrow(said);
    expect(read).toEqual([]);
  });
});
