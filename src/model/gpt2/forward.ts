// GPT-2, forward and backward, as dispatches on a Recorder: pre-LayerNorm, learnt positions, tanh
// GELU, biases everywhere, a head that is tied to wte or has its own matrix.
//
// B batch, T length, C width, H heads, V vocabulary, rows = B·T.

import type { Recorder, Tensor } from '../../gpu/program';
import { columnSum } from '../../kernels/column_sum';
import { embedding, embeddingBackward } from '../../kernels/embedding';
import { type LayerNorm, layerNorm, layerNormBackward } from '../../kernels/layernorm';
import { type MatmulOptions, matmul } from '../../kernels/matmul';
import { matrix, transposed } from '../../kernels/tensors';
import { Layout } from '../../tensor/layout';
import type {
  Activations,
  Architecture,
  DocumentTensors,
  ForwardOptions,
  LanguageModel,
} from '../family';
import { head, headBackward } from '../head';
import { type LayerKeyValues, layerOf, rowsAt } from '../key-values';
import type { LowRank } from '../low-rank';
import type { Arena, ParameterTensors } from '../parameters';
import { type AttentionHeads, type HeadActivations, transposedHeads } from './attention';
import { type Gpt2Config, headName } from './config';

interface Block {
  norm1: LayerNorm;
  heads: HeadActivations;
  /** (rows, C): between attention and the multilayer perceptron. */
  middle: Tensor;
  norm2: LayerNorm;
  /** (rows, 4·C), before and after GELU. */
  wide: Tensor;
  active: Tensor;
}

export interface Gpt2Activations extends Activations {
  tokens: Tensor; // (B, T) u32
  documents?: DocumentTensors;
  /** Each block's input, (rows, C). */
  inputs: Tensor[];
  /** Each block's activations; empty where the backward pass computes them again. */
  blocks: Block[];
  norm: LayerNorm;
}

export class Gpt2Model implements LanguageModel {
  readonly #heads: AttentionHeads;
  readonly #adapters?: LowRank;

  constructor(
    readonly architecture: Architecture,
    private readonly config: Gpt2Config,
    readonly weights: ParameterTensors,
    { heads, adapters }: { heads?: AttentionHeads; adapters?: LowRank } = {},
  ) {
    this.#heads = heads ?? transposedHeads;
    this.#adapters = adapters;
  }

  /** With `recompute` a step costs a third more, and holds activations of one block at a time. */
  forward(
    recorder: Recorder,
    tokens: Tensor,
    { recompute = false, keyValues, documents }: ForwardOptions = {},
  ): Gpt2Activations {
    const [B, T] = tokens.layout.shape;
    const { n_embd: C, n_layer, n_positions } = this.config;
    if (T > n_positions)
      throw new Error(`GPT-2: a context of ${T} tokens; the model has ${n_positions} positions.`);
    const { weights } = this;
    let x = recorder.tensor('embedding', Layout.contiguous([B * T, C]), weights.dtype);
    const positions = documents?.positions ?? keyValues?.position;
    const wpe = rowsAt(recorder, weights.tensor('wpe.weight'), positions);
    // With documents each row has a position of its own, as if all were one sequence.
    const sequences = documents ? matrix(tokens, 1, B * T) : tokens;
    embedding(recorder, sequences, weights.tensor('wte.weight'), wpe, x);
    const inputs: Tensor[] = [];
    const blocks: Block[] = [];
    for (let layer = 0; layer < n_layer; layer++) {
      const seen = { keyValues: layerOf(keyValues, layer), documents: documents?.spans };
      const block = this.#block(recorder, x, layer, [B, T], seen);
      inputs.push(x);
      if (!recompute) blocks.push(block);
      x = this.#linear(recorder, block.active, `h.${layer}.mlp.c_proj`, C, {
        addend: block.middle,
      });
    }
    const norm = this.#norm(recorder, x, 'ln_f');
    return { tokens, documents, inputs, blocks, norm, hidden: norm.y };
  }

  /**
   * Records block `layer` up to its last product: x (rows, C) + attention, then what the multilayer
   * perceptron projects back.
   */
  #block(
    recorder: Recorder,
    x: Tensor,
    layer: number,
    [B, T]: [number, number],
    seen: { keyValues?: LayerKeyValues; documents?: Tensor },
  ): Block {
    const { n_embd: C, n_head: H } = this.config;
    const h = `h.${layer}`;
    const norm1 = this.#norm(recorder, x, `${h}.ln_1`);
    const qkv = this.#linear(recorder, norm1.y, `${h}.attn.c_attn`, 3 * C);
    const heads = this.#heads.forward(recorder, qkv, [B, T, H], h, seen);
    const middle = this.#linear(recorder, heads.out, `${h}.attn.c_proj`, C, { addend: x });
    const norm2 = this.#norm(recorder, middle, `${h}.ln_2`);
    const layout = Layout.contiguous([B * T, 4 * C]);
    const active = recorder.tensor(`${h}.mlp.gelu`, layout, this.weights.dtype);
    const wide = this.#linear(recorder, norm2.y, `${h}.mlp.c_fc`, 4 * C, { geluOutput: active });
    return { norm1, heads, middle, norm2, wide, active };
  }

  /** y (rows, columns) = x · weight + bias, what an adapter adds, and what the options add */
  #linear(
    recorder: Recorder,
    x: Tensor,
    name: string,
    columns: number,
    options: MatmulOptions = {},
  ): Tensor {
    const { weights } = this;
    const { geluOutput } = options;
    const adapters = this.#adaptersOf(name, columns);
    const y = recorder.tensor(name, Layout.contiguous([x.layout.shape[0], columns]), weights.dtype);
    const bias = weights.tensor(`${name}.bias`);
    matmul(recorder, x, weights.operand(recorder, [`${name}.weight`]), y, {
      ...options,
      geluOutput: adapters ? undefined : geluOutput,
      bias,
      label: name,
    });
    adapters?.forward(recorder, { x, y }, { geluOutput, label: name });
    return y;
  }

  #adaptersOf(name: string, columns: number) {
    return this.#adapters?.of([{ name: `${name}.weight`, columns }]);
  }

  #norm(recorder: Recorder, x: Tensor, name: string): LayerNorm {
    const { weights } = this;
    const [rows] = x.layout.shape;
    const norm = {
      x,
      gamma: weights.tensor(`${name}.weight`),
      beta: weights.tensor(`${name}.bias`),
      y: recorder.tensor(name, x.layout, weights.dtype),
      moments: recorder.tensor(`${name} moments`, Layout.contiguous([rows, 2]), 'f32'),
    };
    layerNorm(recorder, norm, this.config.layer_norm_epsilon);
    return norm;
  }

  head(recorder: Recorder, hidden: Tensor, logits: Tensor, label?: string): void {
    head(recorder, this.weights.tensor(headName(this.config)), hidden, logits, label);
  }

  headBackward(
    recorder: Recorder,
    gradients: Arena,
    rows: { hidden: Tensor; dlogits: Tensor; dhidden: Tensor },
  ): void {
    const name = headName(this.config);
    headBackward(recorder, this.weights.tensor(name), gradients.find(name), rows);
  }

  backward(
    recorder: Recorder,
    gradients: Arena,
    { tokens, documents, inputs, blocks, norm }: Gpt2Activations,
    dhidden: Tensor,
    order: Tensor,
  ): void {
    const { weights } = this;
    const [B, T] = tokens.layout.shape;
    const [rows, C] = dhidden.layout.shape;
    const activation = (label: string, columns: number) =>
      recorder.tensor(`d ${label}`, Layout.contiguous([rows, columns]), weights.dtype);
    // y = x · w + bias; where x = gelu(z), passing z returns z's gradient
    const linearBackward = (x: Tensor, dy: Tensor, name: string, geluInput?: Tensor): Tensor => {
      const dx = activation(name, x.layout.shape[1]);
      const adapters = this.#adaptersOf(name, dy.layout.shape[1]);
      matmul(recorder, dy, transposed(weights.operand(recorder, [`${name}.weight`])), dx, {
        geluInput: adapters ? undefined : geluInput,
        label: `${name} dx`,
      });
      adapters?.backward(recorder, gradients, { x, dy, dx }, { geluInput, label: name });
      const [dw, dbias] = [gradients.find(`${name}.weight`), gradients.find(`${name}.bias`)];
      if (dw) matmul(recorder, transposed(x), dy, dw, { accumulate: true, label: `${name} dw` });
      if (dbias) columnSum(recorder, dy, dbias, `${name} dbias`);
      return dx;
    };
    // y = norm(x); the addend is the gradient that reaches x along the residual
    const normBackward = (of: LayerNorm, dy: Tensor, name: string, addend?: Tensor): Tensor => {
      const dx = activation(name, C);
      const [dgamma, dbeta] = [gradients.find(`${name}.weight`), gradients.find(`${name}.bias`)];
      layerNormBackward(recorder, of, { dy, dx, dgamma, dbeta, addend });
      return dx;
    };

    let dx = normBackward(norm, dhidden, 'ln_f');
    for (let layer = this.config.n_layer - 1; layer >= 0; layer--) {
      const h = `h.${layer}`;
      const seen = { documents: documents?.spans };
      const block = blocks[layer] ?? this.#block(recorder, inputs[layer], layer, [B, T], seen);
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
      this.#heads.backward(recorder, block.heads, { dout, dqkv }, h);
      dx = normBackward(
        block.norm1,
        linearBackward(block.norm1.y, dqkv, `${h}.attn.c_attn`),
        `${h}.ln_1`,
        dmiddle,
      );
    }
    // x = wte[token] + wpe[position]
    const [dwte, dwpe] = [gradients.find('wte.weight'), gradients.find('wpe.weight')];
    if (dwte)
      embeddingBackward(recorder, { tokens, order, dx, dwte, dwpe: documents ? undefined : dwpe });
    if (dwpe && documents) {
      const { positions, order } = documents;
      embeddingBackward(recorder, { tokens: positions, order, dx, dwte: dwpe });
    }
  }
}
