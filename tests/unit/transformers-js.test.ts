// transformers.js loads what is exported and computes it: its own names for the inputs, padded
// texts in a batch, and text generated with keys and values. It runs onnxruntime's native build
// here; tests/gpu compares the graphs on the GPU.

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AutoModelForCausalLM, env, Tensor } from '@xenova/transformers';
import { afterAll, expect, test, vi } from 'vitest';
import { studentFiles } from '../../src/distill/export/export';
import { parseConfig } from '../../src/model/families';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import { initialWeights } from '../../src/model/parameters';
import * as reference from '../../src/reference';
import { Random } from '../../src/tensor/random';
import { referenceConfig } from '../llama-goldens';

// transformers.js takes its engine from here when it is loaded.
await vi.hoisted(async () => {
  const engine = await import('onnxruntime-native');
  Object.assign(globalThis, { [Symbol.for('onnxruntime')]: engine.default ?? engine });
});

const V = 48;
const LLAMA = {
  vocab_size: V,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  tie_word_embeddings: true,
};
const MODELS = [
  { model_type: 'gpt2', vocab_size: V, n_embd: 16, n_layer: 2, n_head: 2, n_positions: 32 },
  { model_type: 'llama', ...LLAMA },
  { model_type: 'mistral', ...LLAMA, sliding_window: 4 },
  {
    model_type: 'qwen3_moe',
    ...LLAMA,
    head_dim: 8,
    mlp_only_layers: [0],
    moe_intermediate_size: 8,
    num_experts: 4,
    num_experts_per_tok: 2,
  },
];
/** Of two lengths: the shorter one is padded on its left. */
const TEXTS = [
  [3, 14, 15, 9, 2, 6, 5, 35],
  [27, 18, 28, 18, 28],
];
const NEW_TOKENS = 4;

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

test.each(MODELS)('$model_type: padded texts, and what it continues them with', async (json) => {
  const architecture = parseConfig(json);
  const weights = initialWeights(architecture.parameters, new Random(7));
  for (const [name, values] of weights)
    weights.set(
      name,
      values.map((value) => (name.includes('norm') ? value : 3 * value)),
    );
  const root = await mkdtemp(join(tmpdir(), 'stillhouse-'));
  folders.push(root);
  const parameter = async (name: string) => Float32Array.from(weights.get(name) as Float32Array);
  const student = { architecture, tokenizer: { files: new Map() }, parameter };
  await mkdir(join(root, 'student/onnx'), { recursive: true });
  for (const { name, chunks } of await studentFiles(student, {
    dtype: 'float32',
    card: () => '',
  })) {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks()) parts.push(chunk);
    await writeFile(join(root, 'student', name), Buffer.concat(parts));
  }
  expect(JSON.parse(await readFile(join(root, 'student/config.json'), 'utf8'))).toMatchObject({
    model_type: json.model_type,
  });

  const truth = (text: number[]): number[] => {
    const named = Object.fromEntries(
      architecture.parameters.map(({ name, shape }) => [
        name,
        { shape, data: weights.get(name) as Float32Array },
      ]),
    );
    const T = text.length;
    const { logits } =
      json.model_type === 'gpt2'
        ? reference.gpt2Forward(named, architecture.config as Gpt2Config, text, 1, T)
        : reference.llamaForward(
            named,
            referenceConfig(architecture.formatConfig('float32')),
            text,
            1,
            T,
          );
    return [...logits.slice(-V)];
  };

  Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: root });
  // The native engine chooses its own device.
  const model = await AutoModelForCausalLM.from_pretrained('student', {
    dtype: 'fp32',
    device: 'auto',
  });
  const longest = Math.max(...TEXTS.map(({ length }) => length));
  const padded = (of: (text: number[], i: number) => number) => {
    const values = TEXTS.flatMap((text) =>
      Array.from({ length: longest }, (_, i) => of(text, i - longest + text.length)),
    );
    return new Tensor('int64', BigInt64Array.from(values, BigInt), [TEXTS.length, longest]);
  };
  const inputs = {
    input_ids: padded((text, i) => text[i] ?? 0),
    attention_mask: padded((_, i) => Number(i >= 0)),
  };
  const { logits } = await model(inputs);
  for (const [row, text] of TEXTS.entries()) {
    const last = logits.data.slice(((row + 1) * longest - 1) * V, (row + 1) * longest * V);
    expect(reference.relativeError(last, truth(text))).toBeLessThan(1e-4);
  }

  const settings = { max_new_tokens: NEW_TOKENS, do_sample: false };
  const generated = (await model.generate({ ...inputs, ...settings })) as Tensor;
  for (const [row, text] of TEXTS.entries()) {
    const expected = [...text];
    for (let i = 0; i < NEW_TOKENS; i++) {
      const next = truth(expected);
      expected.push(next.indexOf(Math.max(...next)));
    }
    const width = longest + NEW_TOKENS;
    const tokens = [...(generated.data as BigInt64Array).slice(row * width, (row + 1) * width)];
    expect(tokens.slice(width - expected.length).map(Number)).toEqual(expected);
  }
  await model.dispose();
});
