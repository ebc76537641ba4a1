// GPT-2, forward and backward, as dispatches on a Recorder: pre-LayerNorm, learnt positions, tanh
// GELU, biases everywhere, the head tied to wte, unless a model has one of its own. B batch, T
// length, C width, H heads, V vocabulary, rows = B·T.

import type { Recorder, Tensor } from '../../gpu/program';
import { columnSum } from '../../kernels/column_sum';
import { embedding, embeddingBackward } from '../../kernels/embedding';
import { type LayerNorm, layerNorm, layerNormBackward } from '../../kernels/layernorm';
import { type MatmulOptions, matmul } from '../../kernels/matmul';
import { rowRuns, transposed } from '../../kernels/tensors';
import { Layout } from '../../tensor/layout';
import type { Arena } from '../parameters';
import type { Gpt2Config } from './config';
import { attend, attendBackward, type Heads } from './heads';

interface Block {
  norm1: LayerNorm;
  heads: Heads;
  norm2: LayerNorm;
  /** (rows, 4·C), before and after GELU. */
  wide: Tensor;
  active: Tensor;
  /** (rows, C): between attention and the multilayer perceptron. */
  middle: Tensor;
}

/** What the forward pass leaves for the backward pass. */
export interface Activations {
  config: Gpt2Config;
  tokens: Tensor; // (B, T) u32
  /** What each block was given, (rows, C). */
  inputs: Tensor[];
  /** Each block's activations; none where they are to be computed again. */
  blocks: Block[];
  norm: LayerNorm;
  /** (rows, C): what the head multiplies. */
  hidden: Tensor;
}

/**
 * Records the forward pass up to the head. tokens (B, T) u32. With `recompute` only what each block
 * was given outlives it, and the backward pass computes the rest again: a third more work, and
 * activations of one block in place of all.
 */
export function forward(
  recorder: Recorder,
  config: Gpt2Config,
  weights: Arena,
  tokens: Tensor,
  recompute = false,
): Activations {
  const [B, T] = tokens.layout.shape;
  const { n_embd: C } = config;
  if (T > config.n_positions)
    throw new Error(
      `GPT-2: a context of ${T} tokens; the model has ${config.n_positions} positions.`,
    );
  let x = recorder.tensor('embedding', Layout.contiguous([B * T, C]), weights.dtype);
  embedding(recorder, tokens, weights.tensor('wte.weight'), weights.tensor('wpe.weight'), x);
  const inputs: Tensor[] = [];
  const blocks: Block[] = [];
  for (let layer = 0; layer < config.n_layer; layer++) {
    const block = forwardBlock(recorder, config, weights, x, layer, tokens.layout.shape);
    inputs.push(x);
    if (!recompute) blocks.push(block);
    x = linear(recorder, weights, block.active, `h.${layer}.mlp.c_proj`, C, {
      addend: block.middle,
    });
  }
  const norm = normalise(recorder, config, weights, x, 'ln_f');
  return { config, tokens, inputs, blocks, norm, hidden: norm.y };
}

/**
 * Records block `layer` up to its last product: x (rows, C) + attention, then what the multilayer
 * perceptron projects back.
 */
function forwardBlock(
  recorder: Recorder,
  config: Gpt2Config,
  weights: Arena,
  x: Tensor,
  layer: number,
  [B, T]: readonly number[],
): Block {
  const { n_embd: C, n_head: H } = config;
  const h = `h.${layer}`;
  const norm1 = normalise(recorder, config, weights, x, `${h}.ln_1`);
  const qkv = linear(recorder, weights, norm1.y, `${h}.attn.c_attn`, 3 * C);
  const heads = attend(recorder, qkv, [B, T, H], config.heads ?? 'transposed', h);
  const middle = linear(recorder, weights, heads.out, `${h}.attn.c_proj`, C, { addend: x });
  const norm2 = normalise(recorder, config, weights, middle, `${h}.ln_2`);
  const active = recorder.tensor(`${h}.mlp.gelu`, Layout.contiguous([B * T, 4 * C]), weights.dtype);
  const wide = linear(recorder, weights, norm2.y, `${h}.mlp.c_fc`, 4 * C, { gelu: active });
  return { norm1, heads, norm2, wide, active, middle };
}

/** y (rows, columns) = x · weight + bias, and what the options add */
function linear(
  recorder: Recorder,
  weights: Arena,
  x: Tensor,
  name: string,
  columns: number,
  options?: MatmulOptions,
): Tensor {
  const y = recorder.tensor(name, Layout.contiguous([x.layout.shape[0], columns]), weights.dtype);
  const bias = weights.tensor(`${name}.bias`);
  matmul(recorder, x, weights.tensor(`${name}.weight`), y, { ...options, bias, label: name });
  return y;
}

function normalise(
  recorder: Recorder,
  config: Gpt2Config,
  weights: Arena,
  x: Tensor,
  name: string,
): LayerNorm {
  const [rows] = x.layout.shape;
  const [gamma, beta] = [weights.tensor(`${name}.weight`), weights.tensor(`${name}.bias`)];
  const y = recorder.tensor(name, x.layout, weights.dtype);
  const norm = {
    x,
    gamma,
    beta,
    y,
    moments: recorder.tensor(`${name} moments`, Layout.contiguous([rows, 2]), 'f32'),
  };
  layerNorm(recorder, norm, config.layer_norm_epsilon);
  return norm;
}

/** The matrix (V, C) of the head: the embedding's, or one of its own. */
const headOf = (arena: Arena) =>
  arena.tensor(arena.plan.tensors.has('lm_head.weight') ? 'lm_head.weight' : 'wte.weight');

/** logits (rows, V) f32 = hidden (rows, C) · wᵀ, w the head's matrix. Left in f32: see the loss. */
export function head(
  recorder: Recorder,
  weights: Arena,
  hidden: Tensor,
  logits: Tensor,
  label = 'head',
): void {
  for (const { first, rows: w } of rowRuns(recorder.gpu, headOf(weights))) {
    matmul(recorder, hidden, transposed(w), words(logits, first, w), { label });
  }
}

/** Differentiates `head`: dhidden (rows, C) = dlogits · w, dw += dlogitsᵀ · hidden. */
export function headBackward(
  recorder: Recorder,
  weights: Arena,
  gradients: Arena,
  hidden: Tensor,
  dlogits: Tensor,
  dhidden: Tensor,
): void {
  for (const { first, rows: w } of rowRuns(recorder.gpu, headOf(weights))) {
    const options = { accumulate: first > 0, label: 'head dx' };
    matmul(recorder, words(dlogits, first, w), w, dhidden, options);
  }
  for (const { first, rows: dw } of rowRuns(recorder.gpu, headOf(gradients))) {
    const dwords = transposed(words(dlogits, first, dw));
    matmul(recorder, dwords, hidden, dw, { accumulate: true, label: 'head dw' });
  }
}

/** The columns of logits that belong to a run of the head's rows. */
const words = (logits: Tensor, first: number, { layout: { shape } }: Tensor): Tensor => ({
  ...logits,
  layout: logits.layout.narrow(1, first, shape[0]),
});

/**
 * Records the backward pass of `forward`: every parameter's gradient is added to `gradients` (f32),
 * which must hold the sum so far. dhidden (rows, C); order (B·T) u32, the rows sorted by token.
 */
export function backward(
  recorder: Recorder,
  weights: Arena,
  gradients: Arena,
  { config, tokens, inputs, blocks, norm }: Activations,
  dhidden: Tensor,
  order: Tensor,
): void {
  const [rows, C] = dhidden.layout.shape;
  const activation = (label: string, columns: number) =>
    recorder.tensor(`d ${label}`, Layout.contiguous([rows, columns]), weights.dtype);
  // y = x · w + bias; where x = gelu(z), z given, what comes back is z's gradient
  const linearBackward = (x: Tensor, dy: Tensor, name: string, geluOf?: Tensor): Tensor => {
    const dx = activation(name, x.layout.shape[1]);
    matmul(recorder, dy, transposed(weights.tensor(`${name}.weight`)), dx, {
      geluOf,
      label: `${name} dx`,
    });
    const dw = gradients.tensor(`${name}.weight`);
    matmul(recorder, transposed(x), dy, dw, { accumulate: true, label: `${name} dw` });
    columnSum(recorder, dy, gradients.tensor(`${name}.bias`), `${name} dbias`);
    return dx;
  };
  // y = norm(x); the addend is the gradient that reaches x along the residual
  const normBackward = (of: LayerNorm, dy: Tensor, name: string, addend?: Tensor): Tensor => {
    const dx = activation(name, C);
    const [dgamma, dbeta] = [gradients.tensor(`${name}.weight`), gradients.tensor(`${name}.bias`)];
    layerNormBackward(recorder, of, { dy, dx, dgamma, dbeta, addend });
    return dx;
  };

  let dx = normBackward(norm, dhidden, 'ln_f');
  for (let layer = config.n_layer - 1; layer >= 0; layer--) {
    const h = `h.${layer}`;
    const block =
      blocks[layer] ??
      forwardBlock(recorder, config, weights, inputs[layer], layer, tokens.layout.shape);
    // x = middle + c_proj(gelu(c_fc(ln_2(middle))))
    const dwide = linearBackward(block.active, dx, `${h}.mlp.c_proj`, block.wide);
    const dmiddle = normBackward(
      block.norm2,
      linearBackward(block.norm2.y, dwide, `${h}.mlp.c_fc`),
      `${h}.ln_2`,
      dx,
    );
    // middle = x + c_proj(attention(c_attn(ln_1(x))))
    const dout = linearBackward(block.heads.out, dmiddle, `${h}.attn.c_proj`);
    const dqkv = activation(`${h}.qkv`, 3 * C);
    attendBackward(recorder, block.heads, { dout, dqkv }, h);
    dx = normBackward(
      block.norm1,
      linearBackward(block.norm1.y, dqkv, `${h}.attn.c_attn`),
      `${h}.ln_1`,
      dmiddle,
    );
  }
  // x = wte[token] + wpe[position]
  const [dwte, dwpe] = [gradients.tensor('wte.weight'), gradients.tensor('wpe.weight')];
  embeddingBackward(recorder, { tokens, order, dx, dwte, dwpe });
}
