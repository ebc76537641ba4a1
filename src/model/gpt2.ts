// GPT-2, forward and backward, as dispatches on a Recorder: pre-LayerNorm, learnt positions, tanh GELU, biases everywhere,
// the head tied to wte. B batch, T length, C width, H heads, V vocabulary, rows = B·T.

import type { Recorder, Tensor } from '../gpu/program';
import { columnSum } from '../kernels/columnSum';
import { embedding, embeddingBackward } from '../kernels/embedding';
import { gelu, geluBackward } from '../kernels/gelu';
import { type LayerNorm, layerNorm, layerNormBackward } from '../kernels/layernorm';
import { matmul } from '../kernels/matmul';
import { transposed } from '../kernels/tensors';
import { Layout } from '../tensor/layout';
import type { Gpt2Config } from './config';
import { attend, attendBackward, type Heads } from './heads';
import type { Arena } from './parameters';

interface Block {
  norm1: LayerNorm;
  heads: Heads;
  norm2: LayerNorm;
  /** (rows, 4·C), before and after GELU. */
  wide: Tensor;
  active: Tensor;
}

/** What the forward pass leaves for the backward pass. */
export interface Activations {
  tokens: Tensor; // (B, T) u32
  blocks: Block[];
  norm: LayerNorm;
  /** (rows, C): what the head multiplies. */
  hidden: Tensor;
}

/** Records the forward pass up to the head. tokens (B, T) u32. */
export function forward(recorder: Recorder, config: Gpt2Config, weights: Arena, tokens: Tensor): Activations {
  const [B, T] = tokens.layout.shape;
  const { n_embd: C, n_head: H, layer_norm_epsilon: epsilon } = config;
  if (T > config.n_positions)
    throw new Error(`GPT-2: a context of ${T} tokens; the model has ${config.n_positions} positions.`);
  const rows = B * T;
  const w = (name: string) => weights.tensor(name);
  const activation = (label: string, columns: number) =>
    recorder.tensor(label, Layout.contiguous([rows, columns]), weights.dtype);
  const statistics = (label: string, shape: number[]) => recorder.tensor(label, Layout.contiguous(shape), 'f32');
  const normalise = (x: Tensor, name: string): LayerNorm => {
    const [gamma, beta] = [w(`${name}.weight`), w(`${name}.bias`)];
    const norm = { x, gamma, beta, y: activation(name, C), moments: statistics(`${name} moments`, [rows, 2]) };
    layerNorm(recorder, norm, epsilon);
    return norm;
  };
  const linear = (x: Tensor, name: string, columns: number, addend?: Tensor): Tensor => {
    const y = activation(name, columns);
    matmul(recorder, x, w(`${name}.weight`), y, { bias: w(`${name}.bias`), addend, label: name });
    return y;
  };

  let x = activation('embedding', C);
  embedding(recorder, tokens, w('wte.weight'), w('wpe.weight'), x);
  const blocks: Block[] = [];
  for (let layer = 0; layer < config.n_layer; layer++) {
    const h = `h.${layer}`;
    const norm1 = normalise(x, `${h}.ln_1`);
    const qkv = linear(norm1.y, `${h}.attn.c_attn`, 3 * C);
    const heads = attend(recorder, qkv, [B, T, H], config.heads ?? 'transposed', h);
    const middle = linear(heads.out, `${h}.attn.c_proj`, C, x);
    const norm2 = normalise(middle, `${h}.ln_2`);
    const wide = linear(norm2.y, `${h}.mlp.c_fc`, 4 * C);
    const active = activation(`${h}.mlp.gelu`, 4 * C);
    gelu(recorder, wide, active);
    x = linear(active, `${h}.mlp.c_proj`, C, middle);
    blocks.push({ norm1, heads, norm2, wide, active });
  }
  const norm = normalise(x, 'ln_f');
  return { tokens, blocks, norm, hidden: norm.y };
}

/** logits (rows, V) f32 = hidden (rows, C) · wteᵀ. Left in f32: see the loss. */
export function head(recorder: Recorder, weights: Arena, hidden: Tensor, logits: Tensor): void {
  matmul(recorder, hidden, transposed(weights.tensor('wte.weight')), logits, { label: 'head' });
}

/** Differentiates `head`: dhidden (rows, C) = dlogits · wte, dwte += dlogitsᵀ · hidden. */
export function headBackward(
  recorder: Recorder,
  weights: Arena,
  gradients: Arena,
  hidden: Tensor,
  dlogits: Tensor,
  dhidden: Tensor,
): void {
  matmul(recorder, dlogits, weights.tensor('wte.weight'), dhidden, { label: 'head dx' });
  matmul(recorder, transposed(dlogits), hidden, gradients.tensor('wte.weight'), { accumulate: true, label: 'head dw' });
}

/**
 * Records the backward pass of `forward`: every parameter's gradient is added to `gradients` (f32), which must hold the
 * sum so far. dhidden (rows, C); order (B·T) u32, the rows sorted by token.
 */
export function backward(
  recorder: Recorder,
  weights: Arena,
  gradients: Arena,
  { tokens, blocks, norm }: Activations,
  dhidden: Tensor,
  order: Tensor,
): void {
  const [rows, C] = dhidden.layout.shape;
  const activation = (label: string, columns: number) =>
    recorder.tensor(`d ${label}`, Layout.contiguous([rows, columns]), weights.dtype);
  // y = x · w + bias
  const linear = (x: Tensor, dy: Tensor, name: string): Tensor => {
    const dx = activation(name, x.layout.shape[1]);
    matmul(recorder, dy, transposed(weights.tensor(`${name}.weight`)), dx, { label: `${name} dx` });
    const dw = gradients.tensor(`${name}.weight`);
    matmul(recorder, transposed(x), dy, dw, { accumulate: true, label: `${name} dw` });
    columnSum(recorder, dy, gradients.tensor(`${name}.bias`), `${name} dbias`);
    return dx;
  };
  // y = norm(x); the addend is the gradient that reaches x along the residual
  const normalise = (of: LayerNorm, dy: Tensor, name: string, addend?: Tensor): Tensor => {
    const dx = activation(name, C);
    const [dgamma, dbeta] = [gradients.tensor(`${name}.weight`), gradients.tensor(`${name}.bias`)];
    layerNormBackward(recorder, of, { dy, dx, dgamma, dbeta, addend });
    return dx;
  };

  let dx = normalise(norm, dhidden, 'ln_f');
  for (const [layer, block] of [...blocks.entries()].reverse()) {
    const h = `h.${layer}`;
    // x = middle + c_proj(gelu(c_fc(ln_2(middle))))
    const dactive = linear(block.active, dx, `${h}.mlp.c_proj`);
    const dwide = activation(`${h}.mlp.gelu`, block.wide.layout.shape[1]);
    geluBackward(recorder, block.wide, dactive, dwide);
    const dmiddle = normalise(block.norm2, linear(block.norm2.y, dwide, `${h}.mlp.c_fc`), `${h}.ln_2`, dx);
    // middle = x + c_proj(attention(c_attn(ln_1(x))))
    const dout = linear(block.heads.out, dmiddle, `${h}.attn.c_proj`);
    const dqkv = activation(`${h}.qkv`, 3 * C);
    attendBackward(recorder, block.heads, { dout, dqkv }, h);
    dx = normalise(block.norm1, linear(block.norm1.y, dqkv, `${h}.attn.c_attn`), `${h}.ln_1`, dmiddle);
  }
  // x = wte[token] + wpe[position]
  const [dwte, dwpe] = [gradients.tensor('wte.weight'), gradients.tensor('wpe.weight')];
  embeddingBackward(recorder, { tokens, order, dx, dwte, dwpe });
}
