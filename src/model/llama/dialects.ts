// What tells the models of the Llama family apart: one row each.

/** Fields of config.json that not every dialect has. */
export type OwnField =
  | 'attention_bias'
  | 'decoder_sparse_step'
  | 'first_k_dense_replace'
  | 'layer_types'
  | 'max_window_layers'
  | 'mlp_bias'
  | 'mlp_only_layers'
  | 'moe_intermediate_size'
  | 'n_group'
  | 'n_routed_experts'
  | 'n_shared_experts'
  | 'no_rope_layers'
  | 'norm_topk_prob'
  | 'num_experts'
  | 'num_experts_per_tok'
  | 'num_local_experts'
  | 'routed_scaling_factor'
  | 'sliding_window'
  | 'topk_group'
  | 'use_sliding_window';

export interface Dialect {
  /** As config.json has it in `model_type`. */
  modelType: string;
  /** Its name in a sentence. */
  title: string;
  /** Its class in transformers. */
  architecture: string;
  /** What of q and of k has an RMSNorm: each head, all heads as one, or nothing. */
  headNorm: 'each' | 'all' | 'none';
  /** `qkv`: q, k and v always have biases. Otherwise attention_bias says so, if there is one. */
  biases: 'qkv' | 'attention_bias';
  /**
   * Which layers have a window: all, all if use_sliding_window says so, those that layer_types
   * names, or none.
   */
  windows: 'all' | 'use_sliding_window' | 'layer_types' | 'none';
  /** The model type that it has with experts in place of perceptrons, if there is one. */
  withExperts?: string;
  /** Present where layers have experts. */
  experts?: {
    /** Whether a token's weights always add up to 1; otherwise norm_topk_prob says so. */
    normalised: boolean;
    /** Whether routers score by sigmoids, and a bias takes part in the choice. */
    sigmoid?: boolean;
    /** Whether all tokens meet one more perceptron, as wide as n_shared_experts experts. */
    shared?: boolean;
    /** Present where a file has names of its own, e.g. w1 for gate_proj. */
    stored?: { module: string; matrices: Readonly<Record<'gate' | 'up' | 'down', string>> };
  };
  /** The fields that its config.json has besides the common ones. */
  configFields: readonly OwnField[];
  /** What transformers takes for a field that is missing. */
  defaults: {
    head_dim?: number;
    num_key_value_heads?: number;
    num_experts?: number;
    num_experts_per_tok?: number;
    moe_intermediate_size?: number;
    max_window_layers?: number;
    rms_norm_eps?: number;
    rope_theta: number;
    sliding_window?: number;
    tie_word_embeddings: boolean;
  };
}

const PLAIN = {
  headNorm: 'none',
  biases: 'attention_bias',
  windows: 'none',
  defaults: { rope_theta: 10_000, tie_word_embeddings: false },
} as const;
const QWEN = {
  ...PLAIN,
  windows: 'layer_types',
  defaults: { ...PLAIN.defaults, num_key_value_heads: 32, sliding_window: 4096 },
} as const;
const WINDOWED = [
  'layer_types',
  'max_window_layers',
  'sliding_window',
  'use_sliding_window',
] as const satisfies OwnField[];

export const DIALECTS: readonly Dialect[] = [
  {
    ...PLAIN,
    modelType: 'llama',
    title: 'Llama',
    architecture: 'LlamaForCausalLM',
    withExperts: 'mixtral',
    configFields: ['attention_bias', 'mlp_bias'],
  },
  {
    ...PLAIN,
    modelType: 'mistral',
    title: 'Mistral',
    architecture: 'MistralForCausalLM',
    withExperts: 'mixtral',
    windows: 'all',
    configFields: ['sliding_window'],
    defaults: { ...PLAIN.defaults, num_key_value_heads: 8, sliding_window: 4096 },
  },
  {
    ...QWEN,
    modelType: 'qwen2',
    title: 'Qwen2',
    architecture: 'Qwen2ForCausalLM',
    biases: 'qkv',
    configFields: WINDOWED,
  },
  {
    ...QWEN,
    modelType: 'qwen3',
    title: 'Qwen3',
    architecture: 'Qwen3ForCausalLM',
    withExperts: 'qwen3_moe',
    headNorm: 'each',
    configFields: ['attention_bias', ...WINDOWED],
    defaults: { ...QWEN.defaults, head_dim: 128 },
  },
  {
    ...PLAIN,
    modelType: 'smollm3',
    title: 'SmolLM3',
    architecture: 'SmolLM3ForCausalLM',
    windows: 'layer_types',
    configFields: ['attention_bias', 'mlp_bias', 'no_rope_layers', ...WINDOWED],
    defaults: { rope_theta: 2_000_000, num_key_value_heads: 4, tie_word_embeddings: true },
  },
  {
    ...PLAIN,
    modelType: 'mixtral',
    title: 'Mixtral',
    architecture: 'MixtralForCausalLM',
    windows: 'all',
    experts: {
      normalised: true,
      stored: { module: 'block_sparse_moe', matrices: { gate: 'w1', up: 'w3', down: 'w2' } },
    },
    configFields: ['num_experts_per_tok', 'num_local_experts', 'sliding_window'],
    defaults: {
      ...PLAIN.defaults,
      num_experts: 8,
      num_experts_per_tok: 2,
      num_key_value_heads: 8,
      rms_norm_eps: 1e-5,
      rope_theta: 1_000_000,
    },
  },
  {
    ...PLAIN,
    modelType: 'qwen3_moe',
    title: 'Qwen3 MoE',
    architecture: 'Qwen3MoeForCausalLM',
    headNorm: 'each',
    windows: 'use_sliding_window',
    experts: { normalised: false },
    configFields: [
      'attention_bias',
      'decoder_sparse_step',
      'mlp_only_layers',
      'moe_intermediate_size',
      'norm_topk_prob',
      'num_experts',
      'num_experts_per_tok',
      'sliding_window',
      'use_sliding_window',
    ],
    defaults: {
      ...PLAIN.defaults,
      moe_intermediate_size: 768,
      num_experts: 128,
      num_experts_per_tok: 8,
      num_key_value_heads: 4,
      sliding_window: 4096,
    },
  },
  {
    ...PLAIN,
    modelType: 'olmoe',
    title: 'OLMoE',
    architecture: 'OlmoeForCausalLM',
    headNorm: 'all',
    experts: { normalised: false },
    configFields: ['attention_bias', 'norm_topk_prob', 'num_experts', 'num_experts_per_tok'],
    defaults: {
      ...PLAIN.defaults,
      num_experts: 64,
      num_experts_per_tok: 8,
      rms_norm_eps: 1e-5,
    },
  },
  {
    ...PLAIN,
    modelType: 'dots1',
    title: 'dots1',
    architecture: 'Dots1ForCausalLM',
    headNorm: 'each',
    windows: 'layer_types',
    experts: { normalised: false, sigmoid: true, shared: true },
    configFields: [
      'attention_bias',
      'first_k_dense_replace',
      'layer_types',
      'max_window_layers',
      'moe_intermediate_size',
      'n_group',
      'n_routed_experts',
      'n_shared_experts',
      'norm_topk_prob',
      'num_experts_per_tok',
      'routed_scaling_factor',
      'sliding_window',
      'topk_group',
    ],
    defaults: {
      ...PLAIN.defaults,
      max_window_layers: 62,
      moe_intermediate_size: 1408,
      num_key_value_heads: 32,
      sliding_window: 4096,
    },
  },
];
