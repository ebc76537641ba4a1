// A config.json of the Llama family: the fields that change the computation, and the parameters
// that follow from them. All models of DIALECTS are one computation; what differs is their row and,
// for each layer, a window, a rotation, and one perceptron or experts.

import type { ExpertSizes, ModelSizes } from '../family';
import type { Initial, Parameter } from '../parameters';
import type { Dialect, OwnField } from './dialects';
import type { RotaryScaling } from './rotation';

/** What changes the computation, complete, under transformers' names. */
export interface LlamaConfig extends Partial<Experts> {
  model_type: string;
  /** V */
  vocab_size: number;
  /** P: the longest context. */
  max_position_embeddings: number;
  /** C */
  hidden_size: number;
  /** F: the width of the multilayer perceptron. */
  intermediate_size: number;
  num_hidden_layers: number;
  /** H */
  num_attention_heads: number;
  /** Heads of keys and values, each shared by H / KV query heads in a row. */
  num_key_value_heads: number;
  /** D, which need not be C / H. */
  head_dim: number;
  rms_norm_eps: number;
  rope_theta: number;
  rope_scaling: RotaryScaling | null;
  /** Whether the head multiplies by the embedding's matrix. */
  tie_word_embeddings: boolean;
  /** Whether q, k, v and the output projection have biases; in qwen2 the first three always do. */
  attention_bias: boolean;
  /** Whether layers of type sliding_attention have a window. */
  use_sliding_window: boolean;
  /** The keys that such a layer's query sees, its own included. */
  sliding_window: number | null;
  layer_types: LayerType[];
  /** 1 where positions rotate queries and keys, 0 where they do not. */
  no_rope_layers: number[];
}

/** Of a model with layers in which each token chooses some of many perceptrons. */
export interface Experts {
  /** E */
  num_experts: number;
  /** k: those that a token chooses. */
  num_experts_per_tok: number;
  /** F: the width of one. */
  moe_intermediate_size: number;
  /** Whether a token's weights are divided by their sum. */
  norm_topk_prob: boolean;
  /** Where the router scores by sigmoids, and a bias takes part in the choice. */
  scoring_func?: 'sigmoid';
  /** The weights are multiplied by it; 1 if missing. */
  routed_scaling_factor?: number;
  /** Experts' widths of the perceptron that all tokens meet besides; none if missing. */
  n_shared_experts?: number;
  /** The layers that have one perceptron all the same, in ascending order. */
  mlp_only_layers: number[];
}

export type LayerType = 'full_attention' | 'sliding_attention';

/** The matrix (V, C) that the head multiplies by. */
export const headName = ({ tie_word_embeddings }: LlamaConfig) =>
  tie_word_embeddings ? 'embed_tokens.weight' : 'lm_head.weight';

/** The keys that a query of this layer sees; undefined for all up to its own. */
export const windowOf = (config: LlamaConfig, layer: number): number | undefined =>
  config.layer_types[layer] === 'sliding_attention'
    ? (config.sliding_window ?? undefined)
    : undefined;

export const isRotated = ({ no_rope_layers }: LlamaConfig, layer: number): boolean =>
  no_rope_layers[layer] === 1;

/** The experts of a layer; undefined for one that has a single perceptron. */
export const expertsOf = (config: LlamaConfig, layer: number): Experts | undefined =>
  config.num_experts === undefined || config.mlp_only_layers?.includes(layer)
    ? undefined
    : (config as LlamaConfig & Experts);

/** The same model with these of its layers, in this order. */
export const withLayers = (config: LlamaConfig, layers: readonly number[]): LlamaConfig => ({
  ...config,
  num_hidden_layers: layers.length,
  layer_types: layers.map((layer) => config.layer_types[layer]),
  no_rope_layers: layers.map((layer) => config.no_rope_layers[layer]),
  ...(config.mlp_only_layers && {
    mlp_only_layers: layers.flatMap((layer, place) => (expertsOf(config, layer) ? [] : [place])),
  }),
});

/** In a new model where nothing else is asked for. */
const USUAL_EXPERTS: ExpertSizes = { count: 4, perToken: 2 };

/**
 * The config of a new model. Two query heads share keys if their number is even; the perceptron is
 * as large as GPT-2's: three matrices of 8/3 C in place of two of 4 C. The experts that a token
 * chooses are together as wide. One expert's weight would always be 1 if it were divided by the
 * sum, and the router would not learn.
 */
export function configOf(
  { modelType, configFields, experts }: Dialect,
  sizes: ModelSizes,
): LlamaConfig {
  const { width, layers, heads } = sizes;
  const { count: E, perToken: k } = sizes.experts ?? USUAL_EXPERTS;
  const wide = 8 * Math.ceil(width / 3);
  const expertWidth = 4 * Math.ceil(wide / (4 * (k + Number(experts?.shared ?? false))));
  return {
    model_type: modelType,
    vocab_size: sizes.vocabularySize,
    max_position_embeddings: sizes.contextWindow,
    hidden_size: width,
    intermediate_size:
      experts && !configFields.includes('moe_intermediate_size') ? expertWidth : wide,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: heads % 2 === 0 ? heads / 2 : heads,
    head_dim: width / heads,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    rope_scaling: null,
    tie_word_embeddings: true,
    attention_bias: false,
    use_sliding_window: false,
    sliding_window: null,
    layer_types: Array(layers).fill('full_attention'),
    no_rope_layers: Array.from({ length: layers }, (_, i) =>
      Number(!configFields.includes('no_rope_layers') || (i + 1) % 4 !== 0),
    ),
    ...(experts && {
      num_experts: E,
      num_experts_per_tok: k,
      moe_intermediate_size: expertWidth,
      norm_topk_prob: experts.normalised || k > 1,
      ...(experts.sigmoid && { scoring_func: 'sigmoid', routed_scaling_factor: 1 }),
      ...(experts.shared && { n_shared_experts: 1 }),
      mlp_only_layers: [],
    }),
  };
}

export const sizesOf = (config: LlamaConfig): ModelSizes => ({
  vocabularySize: config.vocab_size,
  contextWindow: config.max_position_embeddings,
  width: config.hidden_size,
  layers: config.num_hidden_layers,
  heads: config.num_attention_heads,
  ...(config.num_experts !== undefined && {
    experts: { count: config.num_experts, perToken: config.num_experts_per_tok as number },
  }),
});

/**
 * config.json as transformers writes it, versions 4 and 5 read it.
 * @param endOfText the token that ends a text
 */
export function formatFields(
  config: LlamaConfig,
  { architecture, configFields }: Dialect,
  dtype: 'float32' | 'float16',
  endOfText?: number,
): Record<string, unknown> {
  const { rope_scaling, layer_types, no_rope_layers, use_sliding_window, ...fields } = config;
  const { attention_bias, sliding_window, ...more } = fields;
  const { num_experts, num_experts_per_tok, moe_intermediate_size, norm_topk_prob, ...most } = more;
  const { mlp_only_layers, scoring_func, routed_scaling_factor, n_shared_experts, ...common } =
    most;
  const scaling = rope_scaling && { ...rope_scaling, rope_type: rope_scaling.type };
  const own: Record<OwnField, unknown> = {
    attention_bias,
    decoder_sparse_step: 1,
    first_k_dense_replace: mlp_only_layers?.length,
    layer_types,
    max_window_layers: config.num_hidden_layers,
    mlp_bias: false,
    mlp_only_layers,
    moe_intermediate_size,
    n_group: 1,
    n_routed_experts: num_experts,
    n_shared_experts,
    no_rope_layers,
    norm_topk_prob,
    num_experts,
    num_experts_per_tok,
    num_local_experts: num_experts,
    routed_scaling_factor,
    sliding_window,
    topk_group: 1,
    use_sliding_window,
  };
  return {
    architectures: [architecture],
    attention_dropout: 0,
    bos_token_id: endOfText ?? null,
    eos_token_id: endOfText ?? null,
    pad_token_id: null,
    hidden_act: 'silu',
    initializer_range: 0.02,
    ...common,
    rope_scaling: scaling,
    ...Object.fromEntries(configFields.map((name) => [name, own[name]])),
    torch_dtype: dtype,
    use_cache: true,
  };
}

/** The parameters of a layer that are bound as one matrix or vector, in order. */
export const joinedNames = (
  layer: number,
  parts: readonly string[],
  what: 'weight' | 'bias',
): string[] => parts.map((part) => `layers.${layer}.${part}.${what}`);

export const QKV = ['q', 'k', 'v'].map((part) => `self_attn.${part}_proj`);
/** The two matrices of a perceptron that read its input. */
export const gateUp = (module: string) => ['gate', 'up'].map((part) => `${module}.${part}_proj`);
export const ROUTER = 'mlp.gate';
/** Added to the scores where experts are chosen. No gradient reaches it. */
export const choiceBias = (layer: number) => `layers.${layer}.${ROUTER}.e_score_correction_bias`;
/** What all tokens meet beside the experts that they choose. */
export const SHARED = 'mlp.shared_experts';
/** These matrices of each of E experts, those of an expert side by side. */
export const expertParts = (E: number, matrices: readonly ('gate' | 'up' | 'down')[]): string[] =>
  Array.from({ length: E }, (_, e) =>
    matrices.map((matrix) => `mlp.experts.${e}.${matrix}_proj`),
  ).flat();
export const HEAD_NORMS = ['q', 'k'].map((part) => `self_attn.${part}_norm`);

/**
 * Every parameter in arena order. Linear weights are (out, in).
 *
 * Initial values are as for a new GPT-2 (gpt2/config.ts): normal, projections onto the residual
 * stream less, gains 1, biases 0.
 */
export function parametersOf(config: LlamaConfig, { headNorm, biases }: Dialect): Parameter[] {
  const { vocab_size: V, hidden_size: C, intermediate_size: F, head_dim: D } = config;
  const deviation = 0.02 * Math.sqrt(768 / C);
  const normal: Initial = { deviation };
  const projection: Initial = { deviation: deviation / Math.sqrt(2 * config.num_hidden_layers) };
  const [zero, one]: Initial[] = [{ value: 0 }, { value: 1 }];

  const matrices: Parameter[] = [
    { name: 'embed_tokens.weight', role: 'embedding', shape: [V, C], initial: normal },
  ];
  if (!config.tie_word_embeddings)
    matrices.push({ name: 'lm_head.weight', role: 'head', shape: [V, C], initial: normal });
  const vectors: Parameter[] = [];
  const [query, key] = [config.num_attention_heads * D, config.num_key_value_heads * D];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    // The first of `names` begins a run; the others lie directly behind it.
    const run = (
      list: Parameter[],
      names: readonly string[],
      shapes: readonly number[][],
      { role, initial }: Pick<Parameter, 'role' | 'initial'>,
    ) =>
      names.forEach((name, i) => {
        const joined = i > 0 || undefined;
        const copyOf = role === 'expert' ? name.replace(/experts\.\d+\./, '') : undefined;
        list.push({ name, role, shape: shapes[i], initial, layer, joined, copyOf });
      });
    const named = (parts: readonly string[], what: 'weight' | 'bias' = 'weight') =>
      joinedNames(layer, parts, what);
    const [matrix, bias] = [
      { role: 'matrix', initial: normal },
      { role: 'bias', initial: zero },
    ] as const;
    const norm = { role: 'norm', initial: one } as const;
    const inner = { role: 'matrix', initial: projection } as const;
    const perceptron = (module: string, F: number) => {
      run(matrices, named(gateUp(module)), Array(2).fill([F, C]), matrix);
      run(matrices, named([`${module}.down_proj`]), [[C, F]], inner);
    };
    const qkv = [query, key, key];
    run(
      matrices,
      named(QKV),
      qkv.map((size) => [size, C]),
      matrix,
    );
    run(matrices, named(['self_attn.o_proj']), [[C, query]], inner);
    const experts = expertsOf(config, layer);
    if (experts) {
      const { num_experts: E, moe_intermediate_size: F } = experts;
      const [wide, down] = [expertParts(E, ['gate', 'up']), expertParts(E, ['down'])];
      run(matrices, named([ROUTER]), [[E, C]], { role: 'router', initial: normal });
      run(matrices, named(wide), Array(2 * E).fill([F, C]), { role: 'expert', initial: normal });
      run(matrices, named(down), Array(E).fill([C, F]), { role: 'expert', initial: projection });
      if (experts.n_shared_experts) perceptron(SHARED, experts.n_shared_experts * F);
    } else perceptron('mlp', F);

    run(vectors, named(['input_layernorm']), [[C]], norm);
    if (config.attention_bias || biases === 'qkv')
      run(
        vectors,
        named(QKV, 'bias'),
        qkv.map((size) => [size]),
        bias,
      );
    if (config.attention_bias) run(vectors, named(['self_attn.o_proj'], 'bias'), [[C]], bias);
    const normed = { each: [[D], [D]], all: [[query], [key]], none: [] }[headNorm];
    if (normed.length > 0) run(vectors, named(HEAD_NORMS), normed, norm);
    run(vectors, named(['post_attention_layernorm']), [[C]], norm);
    if (experts?.scoring_func === 'sigmoid')
      run(vectors, [choiceBias(layer)], [[experts.num_experts]], {
        role: 'router_bias',
        initial: zero,
      });
  }
  vectors.push({ name: 'norm.weight', role: 'norm', shape: [C], initial: one });
  return [...matrices, ...vectors];
}
