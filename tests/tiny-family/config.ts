// A tiny model's config.json, and the parameters that follow from it.

import type { Initial, Parameter } from '../../src/model/parameters';

/** Under names like Llama's in transformers. */
export interface TinyConfig {
  model_type: 'tiny';
  vocab_size: number;
  max_position_embeddings: number;
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  rms_norm_eps: number;
}

/** Matrices are (in, out). */
export function parametersOf(config: TinyConfig): Parameter[] {
  const { vocab_size: V, hidden_size: C, num_hidden_layers } = config;
  const normal: Initial = { deviation: 0.3 };
  const one: Initial = { value: 1 };
  const matrices: Parameter[] = [
    { name: 'embed.weight', role: 'embedding', shape: [V, C], initial: normal },
    { name: 'lm_head.weight', role: 'head', shape: [V, C], initial: normal },
  ];
  const gains: Parameter[] = [];
  for (let layer = 0; layer < num_hidden_layers; layer++) {
    const matrix = (name: string, shape: number[]) =>
      matrices.push({
        name: `layers.${layer}.${name}`,
        role: 'matrix',
        shape,
        initial: normal,
        layer,
      });
    const gain = (name: string) =>
      gains.push({
        name: `layers.${layer}.${name}`,
        role: 'norm',
        shape: [C],
        initial: one,
        layer,
      });
    matrix('attention.qkv.weight', [C, 3 * C]);
    matrix('attention.out.weight', [C, C]);
    matrix('mlp.up.weight', [C, 4 * C]);
    matrix('mlp.down.weight', [4 * C, C]);
    gain('norm_1.weight');
    gain('norm_2.weight');
  }
  gains.push({ name: 'norm.weight', role: 'norm', shape: [C], initial: one });
  return [...matrices, ...gains];
}
