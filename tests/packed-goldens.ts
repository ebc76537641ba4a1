// The goldens of packed documents: transformers' own models with a mask of blocks and positions
// that begin again with each document (make_packed.py).

import type * as reference from '../src/reference';
import { referenceConfig } from './llama-goldens';
import { readGoldenJson, readGoldenTensors } from './safetensors-fixture';

/** Learnt positions; rotary positions in a window; rotary positions of normed heads. */
export const PACKED_GOLDENS = ['gpt2', 'mistral', 'qwen3'] as const;

export function readPackedGolden(name: (typeof PACKED_GOLDENS)[number]) {
  const run =
    readGoldenJson<Record<string, { config: Record<string, unknown>; loss: number }>>(
      'packed.json',
    )[name];
  const tensors = readGoldenTensors('packed.safetensors');
  const [B, T] = tensors.starts.shape;
  const starts = [...tensors.starts.data];
  const named = (prefix: 'weight' | 'grad') =>
    Object.fromEntries(
      Object.entries(tensors)
        .filter(([key]) => key.startsWith(`${name}.${prefix}.`))
        .map(([key, tensor]) => [
          key.slice(`${name}.${prefix}.`.length).replace(/^(model|transformer)\./, ''),
          tensor,
        ]),
    );
  return {
    ...run,
    B,
    T,
    starts,
    inputs: [...tensors.inputs.data],
    targets: [...tensors.targets.data],
    logits: tensors[`${name}.logits`].data,
    named,
  };
}

export const packedReferenceConfig = (json: Record<string, unknown>): reference.ModelConfig =>
  json.model_type === 'gpt2' ? (json as unknown as reference.GPT2Config) : referenceConfig(json);
