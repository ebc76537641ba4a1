// A GPT-2's config.json: what Stillhouse reads from it, what it writes, and the parameters that
// follow from it.

import { ModelFileError } from '../../files/download';
import type { HeadSplit } from './heads';

/** The sizes of a GPT-2, under transformers' own names. */
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
  /** false: the head has a matrix of its own, lm_head.weight. GPT-2's own is the embedding's. */
  tie_word_embeddings?: boolean;
  /**
   * No field of transformers': how rows become heads. `reshaped` is a bug to look at; see heads.ts.
   * `transposed` by default.
   */
  heads?: HeadSplit;
}

export interface ParameterShape {
  name: string;
  shape: number[];
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
 * Checks a parsed config.json and keeps what Stillhouse needs of it.
 * @param file the name that errors carry
 * @throws ModelFileError that names the field, its value and what is supported
 */
export function parseConfig(json: unknown, file = 'config.json'): Gpt2Config {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    const got = JSON.stringify(json)?.slice(0, 60);
    throw new ModelFileError(
      'model',
      `${file}: expected an object, got ${got}. Use the model's own config.json.`,
    );
  }
  const fields = json as Record<string, unknown>;
  const value = (name: string) => (Object.hasOwn(fields, name) ? fields[name] : undefined);
  const refuse = (name: string, rule: string): never => {
    throw new ModelFileError(
      'model',
      `${file}: ${name} is ${JSON.stringify(value(name)) ?? 'missing'}; ${rule}.`,
    );
  };

  if (value('model_type') !== 'gpt2') {
    refuse(
      'model_type',
      'Stillhouse reads "gpt2". Choose a GPT-2 model, or for a teacher one with onnx/model.onnx',
    );
  }
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

  // These change the computation; a model that sets them otherwise would load and give wrong
  // numbers.
  const fixed: [string, unknown][] = [
    ['n_inner', 4 * config.n_embd],
    ['scale_attn_weights', true],
    ['scale_attn_by_inverse_layer_idx', false],
    ['reorder_and_upcast_attn', false],
    ['add_cross_attention', false],
  ];
  for (const [name, only] of fixed) {
    if ((value(name) ?? only) !== only)
      refuse(name, `supported is ${JSON.stringify(only)}, as GPT-2 itself has it`);
  }
  checkSizes(config, file);
  return config;
}

/**
 * The sizes that any decoder's config.json has under one name or another: words, and the longest
 * context.
 * @throws ModelFileError that names what is missing
 */
export function parseSizes(
  json: unknown,
  file = 'config.json',
): Pick<Gpt2Config, 'vocab_size' | 'n_positions'> {
  const fields = (typeof json === 'object' && json !== null ? json : {}) as Record<string, unknown>;
  const size = (name: keyof typeof MAX_SIZE, others: string[]) => {
    const names = [name, ...others];
    const found = names
      .map((key) => (Object.hasOwn(fields, key) ? fields[key] : undefined))
      .find((v) => v !== undefined);
    if (Number.isInteger(found) && (found as number) >= 1 && (found as number) <= MAX_SIZE[name])
      return found as number;
    const what = `${names.join(' or ')} is ${JSON.stringify(found) ?? 'missing'}`;
    throw new ModelFileError(
      'model',
      `${file}: ${what}; it must be a whole number from 1 to ${MAX_SIZE[name]}.`,
    );
  };
  return {
    vocab_size: size('vocab_size', []),
    n_positions: size('n_positions', ['max_position_embeddings', 'n_ctx']),
  };
}

/**
 * @throws ModelFileError unless the heads share the width evenly, each a multiple of 4 wide:
 * kernels read vec4.
 */
function checkSizes({ n_embd, n_head }: Gpt2Config, file = 'config'): void {
  const headSize = n_embd / n_head;
  if (headSize % 4 === 0) return;
  const what = Number.isInteger(headSize)
    ? `gives heads of size ${headSize}, which is not a multiple of 4`
    : 'does not divide evenly';
  throw new ModelFileError(
    'model',
    `${file}: n_embd ${n_embd} over n_head ${n_head} ${what}. Choose n_embd as a multiple of ${4 * n_head}.`,
  );
}

/**
 * config.json as transformers writes it for a GPT2LMHeadModel with these sizes. Give it to
 * JSON.stringify.
 */
export function formatConfig(
  config: Gpt2Config,
  dtype: 'float32' | 'float16' = 'float32',
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
    tie_word_embeddings: tied(config),
    torch_dtype: dtype,
    use_cache: true,
    vocab_size: config.vocab_size,
  };
}

/** Whether the head multiplies by the embedding's matrix. */
const tied = ({ tie_word_embeddings = true }: Gpt2Config) => tie_word_embeddings;

/** The matrix (V, C) that the head multiplies by. */
export const headName = (config: Gpt2Config) => (tied(config) ? 'wte.weight' : 'lm_head.weight');

/**
 * Every parameter in arena order: rank 2, which weight decay touches, then the rest. Linear weights
 * are (in, out).
 */
export function parameterShapes(config: Gpt2Config): ParameterShape[] {
  const { vocab_size: V, n_positions: P, n_embd: C, n_layer } = config;
  const matrices: ParameterShape[] = [
    { name: 'wte.weight', shape: [V, C] },
    { name: 'wpe.weight', shape: [P, C] },
    ...(tied(config) ? [] : [{ name: headName(config), shape: [V, C] }]),
  ];
  const vectors: ParameterShape[] = [];
  for (let layer = 0; layer < n_layer; layer++) {
    const name = (part: string) => `h.${layer}.${part}`;
    matrices.push(
      { name: name('attn.c_attn.weight'), shape: [C, 3 * C] },
      { name: name('attn.c_proj.weight'), shape: [C, C] },
      { name: name('mlp.c_fc.weight'), shape: [C, 4 * C] },
      { name: name('mlp.c_proj.weight'), shape: [4 * C, C] },
    );
    vectors.push(
      { name: name('ln_1.weight'), shape: [C] },
      { name: name('ln_1.bias'), shape: [C] },
      { name: name('attn.c_attn.bias'), shape: [3 * C] },
      { name: name('attn.c_proj.bias'), shape: [C] },
      { name: name('ln_2.weight'), shape: [C] },
      { name: name('ln_2.bias'), shape: [C] },
      { name: name('mlp.c_fc.bias'), shape: [4 * C] },
      { name: name('mlp.c_proj.bias'), shape: [C] },
    );
  }
  vectors.push({ name: 'ln_f.weight', shape: [C] }, { name: 'ln_f.bias', shape: [C] });
  return [...matrices, ...vectors];
}
