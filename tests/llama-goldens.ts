// The goldens of the Llama family: training runs of transformers' own models (make_llama.py), and
// their configs as the reference takes them.

import type * as reference from '../src/reference';
import { readGoldenJson, readGoldenTensors } from './safetensors-fixture';

/** Model types of make_llama.py; the last ones have experts. */
export const LLAMA_GOLDENS = [
  'llama',
  'mistral',
  'qwen2',
  'qwen3',
  'smollm3',
  'mixtral',
  'qwen3_moe',
  'olmoe',
  'dots1',
] as const;

/** What a file calls a tensor → what its parameter is called: Mixtral's have names of their own. */
const parameterName = (stored: string) =>
  stored
    .replace(/^model\./, '')
    .replace('.block_sparse_moe.', '.mlp.')
    .replace(/\.w([123])\.weight$/, (_, i) => `.${['gate', 'down', 'up'][i - 1]}_proj.weight`);

type HyperParameter =
  | 'batch'
  | 'context'
  | 'steps'
  | 'lr'
  | 'warmup'
  | 'beta1'
  | 'beta2'
  | 'eps'
  | 'weight_decay'
  | 'clip';

interface GoldenRun {
  /** As transformers writes it. */
  config: Record<string, unknown>;
  hyper_parameters: Record<HyperParameter, number>;
  /** Weights of the routers' losses, where they are minimised. */
  routers?: { balance: number; z: number };
  steps: {
    loss: number;
    grad_norm: number;
    lr: number;
    loss32: number;
    balance?: number;
    z?: number;
  }[];
}

export function readLlamaGolden(name: (typeof LLAMA_GOLDENS)[number]) {
  const run = readGoldenJson<GoldenRun>(`${name}_run.json`);
  const tensors = readGoldenTensors(`${name}_run.safetensors`);
  const { batch: B, context: T } = run.hyper_parameters;
  /** Tensors called `PREFIX.NAME`, by their parameters' names. */
  const named = (prefix: 'before' | 'grad' | 'after') =>
    Object.fromEntries(
      Object.entries(tensors)
        .filter(([key]) => key.startsWith(`${prefix}.`))
        .map(([key, tensor]) => [parameterName(key.slice(prefix.length + 1)), tensor]),
    );
  /** The inputs and targets of a step, (B, T) each. */
  const batch = (step: number) => {
    const rows = Array.from({ length: B }, (_, b) => {
      const start = (step * B + b) * (T + 1);
      return [...tensors.tokens.data.slice(start, start + T + 1)];
    });
    return {
      inputs: rows.flatMap((row) => row.slice(0, -1)),
      targets: rows.flatMap((row) => row.slice(1)),
    };
  };
  return { ...run, B, T, logits: tensors.logits.data, named, batch };
}

/** What of a config.json of transformers changes the result, in the reference's terms. */
export function referenceConfig(json: Record<string, unknown>): reference.LlamaConfig {
  const config = json as unknown as reference.LlamaConfig & {
    model_type: string;
    /** In version 5 of transformers; earlier, rope_theta and rope_scaling. */
    rope_parameters?: reference.RotaryScaling & { rope_type: string; rope_theta: number };
    sliding_window?: number | null;
    use_sliding_window?: boolean;
    layer_types?: string[];
    no_rope_layers?: number[];
    num_experts?: number;
    num_local_experts?: number;
    num_experts_per_tok?: number;
    moe_intermediate_size?: number;
    norm_topk_prob?: boolean;
    mlp_only_layers?: number[];
    n_routed_experts?: number;
    n_shared_experts?: number;
    routed_scaling_factor?: number;
    first_k_dense_replace?: number;
  };
  const { model_type, sliding_window, layer_types } = config;
  const rope = config.rope_parameters ?? { rope_type: 'default', rope_theta: config.rope_theta };
  const type = rope.rope_type;
  const layers = Array.from({ length: config.num_hidden_layers }, (_, i) => i);
  const slides = (i: number) =>
    ['mistral', 'mixtral'].includes(model_type) ||
    (model_type === 'qwen3_moe' && config.use_sliding_window) ||
    layer_types?.[i] === 'sliding_attention';
  const E = config.num_local_experts ?? config.num_experts ?? config.n_routed_experts;
  const F = config.moe_intermediate_size ?? config.intermediate_size;
  return {
    ...config,
    head_dim: config.head_dim ?? config.hidden_size / config.num_attention_heads,
    rope_theta: rope.rope_theta,
    rope_scaling: type === 'default' ? null : ({ ...rope, type } as reference.RotaryScaling),
    attention_biases: model_type === 'qwen2' ? 'qkv' : 'none',
    head_norm: ({ qwen3: 'each', qwen3_moe: 'each', olmoe: 'all', dots1: 'each' } as const)[
      model_type
    ],
    windows: layers.map((i) => (slides(i) ? (sliding_window ?? 0) : 0)),
    rotated: layers.map((i) => config.no_rope_layers?.[i] !== 0),
    experts: E
      ? {
          E,
          k: config.num_experts_per_tok as number,
          F,
          normalised: model_type === 'mixtral' || (config.norm_topk_prob ?? false),
          layers: layers.map(
            (i) => !config.mlp_only_layers?.includes(i) && i >= (config.first_k_dense_replace ?? 0),
          ),
          ...(model_type === 'dots1' && {
            score: 'sigmoid' as const,
            scale: config.routed_scaling_factor,
            shared: F * (config.n_shared_experts ?? 0),
          }),
        }
      : undefined,
  };
}
