// Small GPT-2s as folders of the test hub, from PyTorch's golden weights, in each form in which
// weights are stored.

import { readFileSync } from 'node:fs';
import { joinPieces } from '../src/files/pieces';
import { readSafetensors, type SafetensorsType, writeSafetensors } from '../src/files/safetensors';
import { type Gpt2Config, parseFields } from '../src/model/gpt2/config';
import { type Gpt2, gpt2 } from '../src/model/gpt2/gpt2';
import { loadWeights } from '../src/model/weights';
import { toHalf } from '../src/tensor/dtype';
import type { Hub } from './hub-server';
import { goldenPath, readGoldenJson } from './safetensors-fixture';

/** The goldens' teacher or student. */
export function goldenModel(which: 'teacher' | 'student'): {
  config: Gpt2Config;
  architecture: Gpt2;
  weights: Map<string, Float32Array>;
} {
  const sizes = readGoldenJson<Record<string, object>>('gpt2_run.json')[which];
  const config = parseFields({ ...sizes }, 'gpt2_run.json');
  const architecture = gpt2(config);
  const file = `gpt2_${which}.safetensors`;
  return {
    config,
    architecture,
    weights: loadWeights(readSafetensors(readFileSync(goldenPath(file)), file), architecture, file),
  };
}

type StoredModel = Omit<ReturnType<typeof goldenModel>, 'architecture'>;

export interface Variant {
  dtype?: 'F32' | 'F16' | 'BF16';
  /** Files to spread the tensors over. */
  shards?: number;
  prefix?: '' | 'transformer.';
  /** An lm_head.weight: equal to the embedding, different, or in the embedding's place. */
  head?: 'tied' | 'untied' | 'alone';
  /** The causal masks of older files. */
  masks?: boolean;
  onnx?: boolean;
}

type Stored = Map<string, { dtype: SafetensorsType; shape: number[]; data: ArrayBufferView }>;

/** Converts values to each type; to bfloat16 by rounding to nearest, as PyTorch does. */
const STORE: Record<'F32' | 'F16' | 'BF16', (values: Float32Array) => ArrayBufferView> = {
  F32: (values) => values,
  F16: toHalf,
  BF16: (values) =>
    Uint16Array.from(
      new Uint32Array(values.slice().buffer),
      (bits) => (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16,
    ),
};

/** A model's tensors, as a file stores them. */
function storedTensors({ config, weights }: StoredModel, variant: Variant): Stored {
  const { dtype = 'F32', prefix = 'transformer.', head, masks } = variant;
  const shapes: Record<string, number[]> = { 'wte.weight': [config.vocab_size, config.n_embd] };
  shapes['wpe.weight'] = [config.n_positions, config.n_embd];
  const stored: Stored = new Map();
  for (const [name, values] of weights) {
    const rows =
      /c_proj|c_fc|c_attn/.test(name) && name.endsWith('weight')
        ? weights.get(name.replace('weight', 'bias'))
        : undefined;
    const shape =
      shapes[name] ?? (rows ? [values.length / rows.length, rows.length] : [values.length]);
    stored.set(prefix + name, { dtype, shape, data: STORE[dtype](values) });
  }
  const embedding = stored.get(`${prefix}wte.weight`)!;
  if (head) {
    const other = STORE[dtype](
      weights.get('wte.weight')!.map((value, i) => (i === 5 ? value + 1 : value)),
    );
    stored.set('lm_head.weight', head === 'untied' ? { ...embedding, data: other } : embedding);
  }
  if (head === 'alone') stored.delete(`${prefix}wte.weight`);
  for (let layer = 0; masks && layer < config.n_layer; layer++) {
    const P = config.n_positions;
    stored.set(`${prefix}h.${layer}.attn.bias`, {
      dtype: 'U8',
      shape: [1, 1, P, P],
      data: new Uint8Array(P * P),
    });
    const small = { dtype: 'F32' as const, shape: [], data: Float32Array.of(-1e4) };
    stored.set(`${prefix}h.${layer}.attn.masked_bias`, small);
  }
  return stored;
}

/** The files of a model's folder, without a tokenizer. */
export function modelFiles(
  model: StoredModel,
  variant: Variant = {},
): Map<string, Uint8Array<ArrayBuffer>> {
  const architecture = gpt2(model.config);
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const files = new Map<string, Uint8Array<ArrayBuffer>>([
    ['config.json', json(architecture.formatConfig('float32'))],
  ]);
  const tensors = [...storedTensors(model, variant)];
  const { shards = 1 } = variant;
  const perShard = Math.ceil(tensors.length / shards);
  const weight_map: Record<string, string> = {};
  for (let i = 0; i < shards; i++) {
    const shard = tensors.slice(i * perShard, (i + 1) * perShard);
    const number = (n: number) => String(n).padStart(5, '0');
    const name =
      shards === 1
        ? 'model.safetensors'
        : `model-${number(i + 1)}-of-${number(shards)}.safetensors`;
    files.set(name, writeSafetensors(new Map(shard), { format: 'pt' }));
    for (const [tensor] of shard) weight_map[tensor] = name;
  }
  if (shards > 1)
    files.set('model.safetensors.index.json', json({ metadata: { total_size: 1 }, weight_map }));
  if (variant.onnx) {
    const pieces = architecture.onnxPieces('f32', false);
    files.set('onnx/model.onnx', joinPieces(pieces, model.weights));
  }
  return files;
}

/** Publishes a folder on the hub, in place of an earlier one. */
export function publish(hub: Hub, id: string, files: ReadonlyMap<string, Uint8Array>): void {
  const folder = `${id.includes('@') ? id : `${id}@main`}/`;
  for (const path of hub.files.keys()) if (path.startsWith(folder)) hub.files.delete(path);
  for (const [file, bytes] of files) hub.files.set(folder + file, bytes);
}
