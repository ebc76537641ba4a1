// GPT-2, whole: logits forward, and backward the gradient of every parameter under its Hugging Face
// name. Pre-LayerNorm, learned positions, tanh GELU, a bias in every layer, weights stored
// (in, out), and a head that is wte or its own matrix.

import { add, columnSum, matmul, type Numbers } from './arrays';
import {
  type AttentionSizes,
  attention,
  attentionBackward,
  embedding,
  embeddingBackward,
  gelu,
  geluBackward,
  layerNorm,
  layerNormBackward,
  reshapeHeads,
} from './layers';

/** The fields of a Hugging Face config.json that change the result. */
export interface GPT2Config {
  vocab_size: number;
  n_positions: number;
  n_embd: number;
  n_layer: number;
  n_head: number;
  layer_norm_epsilon: number;
  tie_word_embeddings?: boolean;
  /** `reshaped` is a bug that raises no error; see reshapeHeads. */
  heads?: 'transposed' | 'reshaped';
}

export interface Weight {
  shape: readonly number[];
  data: Numbers;
}
/** By Hugging Face name: `wte.weight` (V, C), `h.0.attn.c_attn.weight` (C, 3C), … */
export type Weights = Readonly<Record<string, Weight>>;
/** As `Weights`, in arrays that can be written to. */
export type Parameters = Record<string, { shape: readonly number[]; data: Float64Array }>;

/** Every parameter's name and shape, in Hugging Face's order. */
export function parameterShapes({
  vocab_size: V,
  n_positions: P,
  n_embd: C,
  n_layer,
  tie_word_embeddings: tied = true,
}: GPT2Config): Record<string, number[]> {
  const shapes: Record<string, number[]> = { 'wte.weight': [V, C], 'wpe.weight': [P, C] };
  if (!tied) shapes['lm_head.weight'] = [V, C];
  const layerNormed = (name: string) =>
    Object.assign(shapes, { [`${name}.weight`]: [C], [`${name}.bias`]: [C] });
  const linear = (name: string, from: number, to: number) =>
    Object.assign(shapes, { [`${name}.weight`]: [from, to], [`${name}.bias`]: [to] });
  for (let layer = 0; layer < n_layer; layer++) {
    layerNormed(`h.${layer}.ln_1`);
    linear(`h.${layer}.attn.c_attn`, C, 3 * C);
    linear(`h.${layer}.attn.c_proj`, C, C);
    layerNormed(`h.${layer}.ln_2`);
    linear(`h.${layer}.mlp.c_fc`, C, 4 * C);
    linear(`h.${layer}.mlp.c_proj`, 4 * C, C);
  }
  layerNormed('ln_f');
  return shapes;
}

/** What the backward of a block reads of its forward. */
interface BlockActivations {
  input: Float64Array; // (N, C)
  normed1: Float64Array; // (N, C): ln_1 of the input
  qkv: Float64Array; // (N, 3C)
  attended: Float64Array; // (N, C)
  middle: Float64Array; // (N, C): input + attention
  normed2: Float64Array; // (N, C): ln_2 of the middle
  hidden: Float64Array; // (N, 4C)
  activated: Float64Array; // (N, 4C): GELU of hidden
}

export interface GPT2Forward {
  /** (B, T, V) */
  logits: Float64Array;
  tokens: Numbers;
  B: number;
  T: number;
  starts?: Numbers;
  blocks: BlockActivations[];
  last: Float64Array; // (N, C): the residual stream after the last block
  normed: Float64Array; // (N, C): ln_f of that
}

function attend(qkv: Numbers, sizes: AttentionSizes, { heads }: GPT2Config): Float64Array {
  if (heads !== 'reshaped') return attention(qkv, sizes).output;
  return reshapeHeads(attention(reshapeHeads(qkv, sizes, 3), sizes).output, sizes, 1, 'back');
}

function attendBackward(
  doutput: Numbers,
  qkv: Numbers,
  sizes: AttentionSizes,
  { heads }: GPT2Config,
): Float64Array {
  if (heads !== 'reshaped') return attentionBackward(doutput, qkv, sizes);
  const dreshaped = attentionBackward(
    reshapeHeads(doutput, sizes, 1),
    reshapeHeads(qkv, sizes, 3),
    sizes,
  );
  return reshapeHeads(dreshaped, sizes, 3, 'back');
}

/**
 * Tokens (B, T) → logits (B, T, V), with the activations that `gpt2Backward` reads. Where `starts`
 * (B, T) says at which place of its row each token's document begins, a token attends to its own
 * document alone, and positions begin again with each.
 */
export function gpt2Forward(
  weights: Weights,
  config: GPT2Config,
  tokens: Numbers,
  B: number,
  T: number,
  starts?: Numbers,
): GPT2Forward {
  const { n_embd: C, n_head: NH, vocab_size: V, layer_norm_epsilon: epsilon } = config;
  const N = B * T;
  const get = (name: string) => weights[name].data;
  const normalise = (x: Numbers, name: string) =>
    layerNorm(x, get(`${name}.weight`), get(`${name}.bias`), epsilon).y;
  const linear = (x: Numbers, name: string, from: number, to: number) =>
    matmul(x, get(`${name}.weight`), N, from, to, { bias: get(`${name}.bias`) });

  let x = embedding(tokens, get('wte.weight'), get('wpe.weight'), T, C, starts);
  const blocks: BlockActivations[] = [];
  for (let layer = 0; layer < config.n_layer; layer++) {
    const h = `h.${layer}`;
    const input = x;
    const normed1 = normalise(input, `${h}.ln_1`);
    const qkv = linear(normed1, `${h}.attn.c_attn`, C, 3 * C);
    const attended = attend(qkv, { B, T, C, NH, starts }, config);
    const middle = add(input, linear(attended, `${h}.attn.c_proj`, C, C));
    const normed2 = normalise(middle, `${h}.ln_2`);
    const hidden = linear(normed2, `${h}.mlp.c_fc`, C, 4 * C);
    const activated = gelu(hidden);
    x = add(middle, linear(activated, `${h}.mlp.c_proj`, 4 * C, C));
    blocks.push({ input, normed1, qkv, attended, middle, normed2, hidden, activated });
  }
  const normed = normalise(x, 'ln_f');
  // A tied head multiplies by the embedding's matrix.
  const head = get(config.tie_word_embeddings === false ? 'lm_head.weight' : 'wte.weight');
  const logits = matmul(normed, head, N, C, V, { transposeB: true });
  return { logits, tokens, B, T, starts, blocks, last: x, normed };
}

/**
 * dlogits (B, T, V) → the gradient of every parameter, by name. It retraces `gpt2Forward` from its
 * last line to its first; each comment quotes the line that is differentiated.
 */
export function gpt2Backward(
  weights: Weights,
  config: GPT2Config,
  forward: GPT2Forward,
  dlogits: Numbers,
): Parameters {
  const {
    n_embd: C,
    n_head: NH,
    vocab_size: V,
    n_positions: P,
    layer_norm_epsilon: epsilon,
  } = config;
  const { tokens, B, T, starts, blocks, last, normed } = forward;
  const N = B * T;
  const get = (name: string) => weights[name].data;
  const gradients: Parameters = Object.fromEntries(
    Object.entries(parameterShapes(config)).map(([name, shape]) => [
      name,
      { shape, data: new Float64Array(shape.reduce((product, size) => product * size, 1)) },
    ]),
  );
  const set = (name: string, data: Float64Array) => gradients[name].data.set(data);

  // y = x · W + b
  const linearBackward = (dy: Numbers, x: Numbers, name: string, from: number, to: number) => {
    set(`${name}.weight`, matmul(x, dy, from, N, to, { transposeA: true }));
    set(`${name}.bias`, columnSum(dy, N, to));
    return matmul(dy, get(`${name}.weight`), N, to, from, { transposeB: true });
  };
  const normaliseBackward = (dy: Numbers, x: Numbers, name: string) => {
    const { dx, dgamma, dbeta } = layerNormBackward(dy, x, get(`${name}.weight`), epsilon);
    set(`${name}.weight`, dgamma);
    set(`${name}.bias`, dbeta);
    return dx;
  };

  // logits = normed · headᵀ
  const tied = config.tie_word_embeddings !== false;
  const dhead = matmul(dlogits, normed, V, N, C, { transposeA: true });
  let dx = normaliseBackward(
    matmul(dlogits, get(tied ? 'wte.weight' : 'lm_head.weight'), N, V, C),
    last,
    'ln_f',
  );
  for (let layer = config.n_layer - 1; layer >= 0; layer--) {
    const h = `h.${layer}`;
    const { input, normed1, qkv, attended, middle, normed2, hidden, activated } = blocks[layer];
    // x = middle + mlp(ln_2(middle))
    const dactivated = linearBackward(dx, activated, `${h}.mlp.c_proj`, 4 * C, C);
    const dnormed2 = linearBackward(
      geluBackward(dactivated, hidden),
      normed2,
      `${h}.mlp.c_fc`,
      C,
      4 * C,
    );
    const dmiddle = add(dx, normaliseBackward(dnormed2, middle, `${h}.ln_2`));
    // middle = input + attention(ln_1(input))
    const dattended = linearBackward(dmiddle, attended, `${h}.attn.c_proj`, C, C);
    const dqkv = attendBackward(dattended, qkv, { B, T, C, NH, starts }, config);
    const dnormed1 = linearBackward(dqkv, normed1, `${h}.attn.c_attn`, C, 3 * C);
    dx = add(dmiddle, normaliseBackward(dnormed1, input, `${h}.ln_1`));
  }
  const { dwte, dwpe } = embeddingBackward(tokens, dx, T, C, V, P, starts);
  // A tied wte is both embedding and head, and gets the sum of both gradients.
  set('wte.weight', tied ? add(dwte, dhead) : dwte);
  if (!tied) set('lm_head.weight', dhead);
  set('wpe.weight', dwpe);
  return gradients;
}
