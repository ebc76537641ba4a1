// A GPT-2's config.json: the fields that Stillhouse reads and writes, and the parameters that
// follow from them.

import { ModelFileError } from '../../files/download';
import { shownJson } from '../../quote';
import type { ModelSizes } from '../family';
import type { Initial, Parameter } from '../parameters';

/** The sizes of a GPT-2, under transformers' names. */
export interface Gpt2Config {
  /** V */
  vocab_size: number;
  /** P: the longest context. */
  n_positions: number;
  /** C */
  n_embd: number;
  n_layer: number;
  n_head: number;
  layer_norm_epsilon: number;
  activation_function: 'gelu_new';
  /** false: the head has its own matrix, lm_head.weight. By default it shares the embedding's. */
  tie_word_embeddings?: boolean;
}

// gelu_pytorch_tanh and gelu_fast are the same function under other names.
const TANH_GELU = ['gelu_new', 'gelu_pytorch_tanh', 'gelu_fast'];

// Far above any GPT-2; a damaged or hostile file must not ask for endless work.
const MAX_SIZE = {
  vocab_size: 2 ** 20,
  n_positions: 2 ** 17,
  n_embd: 2 ** 14,
  n_layer: 256,
  n_head: 256,
};

/**
 * Checks the fields of a config.json and returns those that Stillhouse needs.
 * @param file the name that errors carry
 * @throws ModelFileError that names the field, its value and what is supported
 */
export function parseFields(fields: Readonly<Record<string, unknown>>, file: string): Gpt2Config {
  const value = (name: string) => (Object.hasOwn(fields, name) ? fields[name] : undefined);
  const refuse = (name: string, rule: string): never => {
    throw new ModelFileError('model', `${file}: ${name} is ${shownJson(value(name))}; ${rule}.`);
  };

  const activation = value('activation_function') ?? 'gelu_new';
  if (!TANH_GELU.includes(activation as string))
    refuse('activation_function', `supported are ${TANH_GELU.join(', ')}`);
  const epsilon = value('layer_norm_epsilon') ?? 1e-5;
  if (typeof epsilon !== 'number' || !(epsilon > 0 && epsilon < 1)) {
    refuse('layer_norm_epsilon', 'it must be a number between 0 and 1, such as 0.00001');
  }
  const size = (name: keyof typeof MAX_SIZE) => {
    const number = value(name) as number;
    if (!Number.isInteger(number) || number < 1 || number > MAX_SIZE[name]) {
      refuse(name, `it must be a whole number from 1 to ${MAX_SIZE[name]}`);
    }
    return number;
  };
  const config: Gpt2Config = {
    vocab_size: size('vocab_size'),
    n_positions: size('n_positions'),
    n_embd: size('n_embd'),
    n_layer: size('n_layer'),
    n_head: size('n_head'),
    layer_norm_epsilon: epsilon as number,
    activation_function: 'gelu_new',
    ...(value('tie_word_embeddings') === false && { tie_word_embeddings: false }),
  };

  // Other values would change the computation: the model would load and compute wrong numbers.
  const fixed: [string, unknown][] = [
    ['n_inner', 4 * config.n_embd],
    ['scale_attn_weights', true],
    ['scale_attn_by_inverse_layer_idx', false],
    ['reorder_and_upcast_attn', false],
    ['add_cross_attention', false],
  ];
  for (const [name, only] of fixed) {
    if ((value(name) ?? only) !== only)
      refuse(name, `supported is ${JSON.stringify(only)}, as in GPT-2 itself`);
  }
  checkHeads(config, file);
  return config;
}

/**
 * @throws ModelFileError unless the heads share the width evenly, each a multiple of 4 wide:
 * kernels read vec4.
 */
function checkHeads({ n_embd, n_head }: Gpt2Config, file: string): void {
  const headSize = n_embd / n_head;
  if (headSize % 4 === 0) return;
  const what = Number.isInteger(headSize)
    ? `gives heads of size ${headSize}, which is not a multiple of 4`
    : 'does not divide evenly';
  throw new ModelFileError(
    'model',
    `${file}: n_embd ${n_embd} over n_head ${n_head} ${what}. ` +
      `Choose n_embd as a multiple of ${4 * n_head}.`,
  );
}

/** config.json as transformers writes it for a GPT2LMHeadModel. */
export function formatFields(
  config: Gpt2Config,
  dtype: 'float32' | 'float16',
  endOfText?: number,
): Record<string, unknown> {
  return {
    activation_function: config.activation_function,
    architectures: ['GPT2LMHeadModel'],
    attn_pdrop: 0,
    bos_token_id: endOfText ?? null,
    embd_pdrop: 0,
    eos_token_id: endOfText ?? null,
    initializer_range: 0.02,
    layer_norm_epsilon: config.layer_norm_epsilon,
    model_type: 'gpt2',
    n_ctx: config.n_positions,
    n_embd: config.n_embd,
    n_head: config.n_head,
    n_inner: null,
    n_layer: config.n_layer,
    n_positions: config.n_positions,
    resid_pdrop: 0,
    scale_attn_weights: true,
    tie_word_embeddings: isTied(config),
    torch_dtype: dtype,
    use_cache: true,
    vocab_size: config.vocab_size,
  };
}

/** The config of a new GPT-2. */
export const configOf = (sizes: ModelSizes): Gpt2Config => ({
  vocab_size: sizes.vocabularySize,
  n_positions: sizes.contextWindow,
  n_embd: sizes.width,
  n_layer: sizes.layers,
  n_head: sizes.heads,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
});

export const sizesOf = (config: Gpt2Config): ModelSizes => ({
  vocabularySize: config.vocab_size,
  contextWindow: config.n_positions,
  width: config.n_embd,
  layers: config.n_layer,
  heads: config.n_head,
});

/** Whether the head multiplies by the embedding's matrix. */
export const isTied = ({ tie_word_embeddings = true }: Gpt2Config) => tie_word_embeddings;

/** The matrix (V, C) that the head multiplies by. */
export const headName = (config: Gpt2Config) => (isTied(config) ? 'wte.weight' : 'lm_head.weight');

/**
 * Every parameter in arena order. Linear weights are (in, out).
 *
 * Initial values are GPT-2's: normal, output projections less by √(2·layers), LayerNorm 1 and 0,
 * biases 0. GPT-2's deviation of 0.02 is for a width of 768; ours scales it by 1/√width, because
 * much smaller embeddings would make the first LayerNorm multiply gradients by its large rstd.
 */
export function parametersOf(config: Gpt2Config): Parameter[] {
  const { vocab_size: V, n_positions: P, n_embd: C, n_layer } = config;
  const deviation = 0.02 * Math.sqrt(768 / C);
  const normal: Initial = { deviation };
  const projection: Initial = { deviation: deviation / Math.sqrt(2 * n_layer) };
  const [zero, one]: Initial[] = [{ value: 0 }, { value: 1 }];

  const matrices: Parameter[] = [
    { name: 'wte.weight', role: 'embedding', shape: [V, C], initial: normal },
    { name: 'wpe.weight', role: 'position', shape: [P, C], initial: normal },
  ];
  if (!isTied(config))
    matrices.push({ name: headName(config), role: 'head', shape: [V, C], initial: normal });
  const vectors: Parameter[] = [];
  for (let layer = 0; layer < n_layer; layer++) {
    const matrix = (name: string, shape: number[], initial: Initial) =>
      matrices.push({ name: `h.${layer}.${name}`, role: 'matrix', shape, initial, layer });
    const vector = (name: string, role: 'norm' | 'bias', length: number, initial: Initial) =>
      vectors.push({ name: `h.${layer}.${name}`, role, shape: [length], initial, layer });
    matrix('attn.c_attn.weight', [C, 3 * C], normal);
    matrix('attn.c_proj.weight', [C, C], projection);
    matrix('mlp.c_fc.weight', [C, 4 * C], normal);
    matrix('mlp.c_proj.weight', [4 * C, C], projection);
    vector('ln_1.weight', 'norm', C, one);
    vector('ln_1.bias', 'norm', C, zero);
    vector('attn.c_attn.bias', 'bias', 3 * C, zero);
    vector('attn.c_proj.bias', 'bias', C, zero);
    vector('ln_2.weight', 'norm', C, one);
    vector('ln_2.bias', 'norm', C, zero);
    vector('mlp.c_fc.bias', 'bias', 4 * C, zero);
    vector('mlp.c_proj.bias', 'bias', C, zero);
  }
  vectors.push(
    { name: 'ln_f.weight', role: 'norm', shape: [C], initial: one },
    { name: 'ln_f.bias', role: 'norm', shape: [C], initial: zero },
  );
  return [...matrices, ...vectors];
}
