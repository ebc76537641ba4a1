// Reads a config.json of the Llama family. A field that changes the computation in a way that the
// kernels do not support is refused by name: the model would load and compute wrong numbers.

import { ModelFileError } from '../../files/download';
import { shownJson } from '../../quote';
import type { Experts, LayerType, LlamaConfig } from './config';
import type { Dialect, OwnField } from './dialects';
import { type RotaryScaling, SCALINGS } from './rotation';

// Far above any model that fits; a damaged or hostile file must not ask for endless work.
const MAX_SIZE = {
  vocab_size: 2 ** 20,
  max_position_embeddings: 2 ** 20,
  hidden_size: 2 ** 14,
  intermediate_size: 2 ** 16,
  num_hidden_layers: 256,
  num_attention_heads: 256,
  num_key_value_heads: 256,
  head_dim: 512,
  max_window_layers: 2 ** 16,
  no_rope_layer_interval: 256,
  num_experts: 1024,
  num_local_experts: 1024,
  n_routed_experts: 1024,
  n_shared_experts: 64,
  num_experts_per_tok: 1024,
  moe_intermediate_size: 2 ** 16,
  decoder_sparse_step: 256,
};
const TYPES: readonly unknown[] = ['full_attention', 'sliding_attention'] satisfies LayerType[];

type Fields = Readonly<Record<string, unknown>>;

/** A field; undefined if it is missing or null, which transformers takes for missing. */
const fieldOf = (fields: Fields, name: string): unknown =>
  (Object.hasOwn(fields, name) ? fields[name] : undefined) ?? undefined;

/**
 * @param file the name that errors carry
 * @throws ModelFileError that names the field, its value and what is supported
 */
export function parseFields(fields: Fields, dialect: Dialect, file: string): LlamaConfig {
  const { defaults } = dialect;
  const value = (name: string) => fieldOf(fields, name);
  const refuse = (name: string, rule: string, got = value(name)): never => {
    throw new ModelFileError('model', `${file}: ${name} is ${shownJson(got, 80)}; ${rule}.`);
  };
  const size = (name: keyof typeof MAX_SIZE, otherwise?: number): number => {
    const number = (value(name) ?? otherwise) as number;
    if (!Number.isInteger(number) || number < 1 || number > MAX_SIZE[name])
      refuse(name, `it must be a whole number from 1 to ${MAX_SIZE[name]}`);
    return number;
  };
  const flag = (name: string, otherwise: boolean): boolean => {
    const given = value(name) ?? otherwise;
    if (typeof given !== 'boolean') refuse(name, 'it must be true or false');
    return given as boolean;
  };

  const activation = value('hidden_act') ?? 'silu';
  if (activation !== 'silu' && activation !== 'swish') refuse('hidden_act', 'supported is silu');
  if (flag('mlp_bias', false)) refuse('mlp_bias', 'supported is false');
  if (value('quantization_config') !== undefined)
    refuse('quantization_config', 'supported are F32, F16 and BF16 weights: use that version');
  if (value('clip_qkv') !== undefined) refuse('clip_qkv', 'supported is null');
  const jitter = value('router_jitter_noise') ?? 0;
  if (jitter !== 0) refuse('router_jitter_noise', 'supported is 0');
  const epsilon = value('rms_norm_eps') ?? defaults.rms_norm_eps ?? 1e-6;
  if (typeof epsilon !== 'number' || !(epsilon > 0 && epsilon < 1))
    refuse('rms_norm_eps', 'it must be a number between 0 and 1, such as 0.00001');

  const hidden_size = size('hidden_size');
  const num_attention_heads = size('num_attention_heads');
  const num_key_value_heads = size(
    'num_key_value_heads',
    defaults.num_key_value_heads ?? num_attention_heads,
  );
  if (num_attention_heads % num_key_value_heads !== 0)
    refuse('num_key_value_heads', `it must divide num_attention_heads, ${num_attention_heads}`);
  // Kernels read vec4, and weights are written four bytes at a time.
  if (hidden_size % 4 !== 0) refuse('hidden_size', 'it must be a multiple of 4');
  const head_dim = (value('head_dim') ??
    defaults.head_dim ??
    hidden_size / num_attention_heads) as number;
  const fits = Number.isInteger(head_dim) && head_dim % 4 === 0;
  if (!(fits && head_dim > 0 && head_dim <= MAX_SIZE.head_dim)) {
    const rule = `it must be a multiple of 4 up to ${MAX_SIZE.head_dim}`;
    const found = `head_dim (or hidden_size ${hidden_size} over ${num_attention_heads} heads)`;
    refuse(found, rule, head_dim);
  }
  const num_hidden_layers = size('num_hidden_layers');
  const intermediate_size = size('intermediate_size');
  return {
    model_type: dialect.modelType,
    vocab_size: size('vocab_size'),
    max_position_embeddings: size('max_position_embeddings'),
    hidden_size,
    intermediate_size,
    num_hidden_layers,
    num_attention_heads,
    num_key_value_heads,
    head_dim,
    rms_norm_eps: epsilon as number,
    ...rotationOf(fields, defaults.rope_theta, refuse),
    tie_word_embeddings: flag('tie_word_embeddings', defaults.tie_word_embeddings),
    attention_bias: dialect.configFields.includes('attention_bias')
      ? flag('attention_bias', false)
      : false,
    ...layersOf(),
    ...(dialect.experts && expertsOf(dialect.experts)),
  };

  function expertsOf({ normalised, sigmoid, shared }: NonNullable<Dialect['experts']>): Experts {
    const { configFields } = dialect;
    // Version 5 of transformers writes the second, whatever the model.
    const names = ['num_experts', 'n_routed_experts', 'num_local_experts'] as const;
    const count = names.find((name) => value(name) !== undefined) ?? names[0];
    const num_experts = size(count, defaults.num_experts);
    const num_experts_per_tok = size('num_experts_per_tok', defaults.num_experts_per_tok);
    if (num_experts_per_tok > num_experts)
      refuse('num_experts_per_tok', `it must be at most ${count}, ${num_experts}`);
    const listed = (value('mlp_only_layers') ?? []) as unknown[];
    if (!Array.isArray(listed) || !listed.every((layer) => Number.isInteger(layer)))
      refuse('mlp_only_layers', 'it must be a list of whole numbers');
    const step = size('decoder_sparse_step', 1);
    for (const name of ['n_group', 'topk_group'] as const)
      if (configFields.includes(name) && (value(name) ?? 1) !== 1)
        refuse(name, 'supported is 1, a choice among all experts');
    const first = value('first_k_dense_replace') ?? 0;
    if (!Number.isInteger(first) || (first as number) < 0)
      refuse('first_k_dense_replace', 'it must be a whole number from 0');
    const factor = value('routed_scaling_factor') ?? 1;
    if (typeof factor !== 'number' || !(factor > 0 && factor < 1e4))
      refuse('routed_scaling_factor', 'it must be a positive number');
    const has = (field: OwnField) => configFields.includes(field);
    const mayLack = has('mlp_only_layers') || has('first_k_dense_replace');
    const isLacking = (layer: number) =>
      (mayLack && listed.includes(layer)) ||
      (has('decoder_sparse_step') && (layer + 1) % step !== 0) ||
      (has('first_k_dense_replace') && layer < (first as number));
    return {
      num_experts,
      num_experts_per_tok,
      moe_intermediate_size: configFields.includes('moe_intermediate_size')
        ? size('moe_intermediate_size', defaults.moe_intermediate_size)
        : intermediate_size,
      norm_topk_prob: normalised || flag('norm_topk_prob', false),
      ...(sigmoid && { scoring_func: 'sigmoid', routed_scaling_factor: factor as number }),
      ...(shared && { n_shared_experts: size('n_shared_experts') }),
      mlp_only_layers: Array.from({ length: num_hidden_layers }, (_, i) => i).filter(isLacking),
    };
  }

  /** Which layers have a window, and which rotate. */
  function layersOf(): Pick<
    LlamaConfig,
    'use_sliding_window' | 'sliding_window' | 'layer_types' | 'no_rope_layers'
  > {
    const layers = Array.from({ length: num_hidden_layers }, (_, i) => i);
    const list = (name: string, allowed: readonly unknown[]): unknown[] | undefined => {
      const given = value(name);
      if (given === undefined || !dialect.configFields.includes(name as never)) return undefined;
      if (
        !Array.isArray(given) ||
        given.length < num_hidden_layers ||
        !given.every((entry) => allowed.includes(entry))
      )
        refuse(name, `it must have one of ${allowed.join(', ')} for each layer`);
      return (given as unknown[]).slice(0, num_hidden_layers);
    };
    const interval = size('no_rope_layer_interval', 4);
    const no_rope_layers = dialect.configFields.includes('no_rope_layers')
      ? ((list('no_rope_layers', [0, 1]) as number[] | undefined) ??
        layers.map((i) => Number((i + 1) % interval !== 0)))
      : layers.map(() => 1);

    const window =
      dialect.windows !== 'none' && !('sliding_window' in fields)
        ? defaults.sliding_window
        : value('sliding_window');
    const always = !dialect.configFields.includes('use_sliding_window');
    const used = dialect.windows !== 'none' && (always || flag('use_sliding_window', false));
    if (used && window !== undefined && !(Number.isInteger(window) && (window as number) > 0))
      refuse('sliding_window', 'it must be a whole number from 1, or null');
    const slides = used && window !== undefined;
    const listed = list('layer_types', TYPES) as LayerType[] | undefined;
    const firstWindow = size('max_window_layers', defaults.max_window_layers ?? 28);
    const hasWindow = (layer: number) => {
      if (!slides || dialect.windows !== 'layer_types') return slides;
      if (listed) return listed[layer] === 'sliding_attention';
      // SmolLM 3 has windows where it has no rotation.
      return dialect.configFields.includes('no_rope_layers')
        ? no_rope_layers[layer] === 0
        : layer >= firstWindow;
    };
    const layer_types = layers.map(
      (layer): LayerType => (hasWindow(layer) ? 'sliding_attention' : 'full_attention'),
    );
    const any = layer_types.includes('sliding_attention');
    return {
      use_sliding_window: any,
      sliding_window: any ? (window as number) : null,
      layer_types,
      no_rope_layers,
    };
  }
}

/**
 * rope_theta and the scaling: from rope_parameters, as version 5 of transformers writes it, or from
 * rope_theta and rope_scaling beside it.
 */
function rotationOf(
  fields: Fields,
  defaultTheta: number,
  refuse: (name: string, rule: string, got?: unknown) => never,
): Pick<LlamaConfig, 'rope_theta' | 'rope_scaling'> {
  const name = ['rope_parameters', 'rope_scaling'].find(
    (key) => fieldOf(fields, key) !== undefined,
  );
  const given = (name === undefined ? {} : fieldOf(fields, name)) as Fields;
  if (typeof given !== 'object' || Array.isArray(given))
    refuse(name as string, 'it must be an object, or null');
  const nested = TYPES.find((type) => fieldOf(given, type as string) !== undefined);
  if (nested) refuse(`${name}.${nested}`, 'supported is one rotation for all layers', given);
  for (const [owner, at] of [
    [fields, 'partial_rotary_factor'],
    [given, `${name}.partial_rotary_factor`],
  ] as const) {
    const share = fieldOf(owner, 'partial_rotary_factor') ?? 1;
    if (share !== 1) refuse(at, 'supported is 1', share);
  }
  const theta = fieldOf(given, 'rope_theta') ?? fieldOf(fields, 'rope_theta') ?? defaultTheta;
  if (typeof theta !== 'number' || !(theta > 1 && theta < 1e12))
    refuse('rope_theta', 'it must be a number above 1, such as 10000', theta);
  const type = fieldOf(given, 'rope_type') ?? fieldOf(given, 'type') ?? 'default';
  if (type === 'default') return { rope_theta: theta as number, rope_scaling: null };
  if (typeof type !== 'string' || !Object.hasOwn(SCALINGS, type)) {
    const supported = ['default', ...Object.keys(SCALINGS)].join(', ');
    refuse(`${name}.rope_type`, `supported are ${supported}`, type);
  }
  const numbers = SCALINGS[type as RotaryScaling['type']].map((key) => {
    const found =
      fieldOf(given, key) ??
      (key === 'original_max_position_embeddings'
        ? (fieldOf(fields, key) ?? fieldOf(fields, 'max_position_embeddings'))
        : undefined);
    if (typeof found !== 'number' || !(found > 0 && found < 1e9))
      refuse(`${name}.${key}`, 'it must be a positive number', found);
    return [key, found] as const;
  });
  const rope_scaling = { type, ...Object.fromEntries(numbers) } as RotaryScaling;
  if (rope_scaling.type === 'llama3') {
    const { low_freq_factor: low, high_freq_factor: high } = rope_scaling;
    if (!(low < high))
      refuse(`${name}.high_freq_factor`, `it must be above low_freq_factor, ${low}`, high);
  }
  return { rope_theta: theta as number, rope_scaling };
}
