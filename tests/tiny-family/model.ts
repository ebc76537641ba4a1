// The tiny family's model, forward and backward. B batch, T length, C width, H heads, rows = B·T.

import type { Recorder, Tensor } from '../../src/gpu/program';
import { type Attention, attention, attentionBackward } from '../../src/kernels/attention';
import { type MatmulOptions, matmul } from '../../src/kernels/matmul';
import { transposed } from '../../src/kernels/tensors';
import type { Activations, Architecture, LanguageModel } from '../../src/model/family';
import { head, headBackward } from '../../src/model/head';
import type { Arena } from '../../src/model/parameters';
import { Layout } from '../../src/tensor/layout';
import type { TinyConfig } from './config';
import { lookup, lookupBackward, type RmsNorm, rmsNorm, rmsNormBackward } from './kernels';

interface Block {
  norm1: RmsNorm;
  attention: Attention;
  norm2: RmsNorm;
  wide: Tensor; // (rows, 4·C), before GELU
  active: Tensor; // (rows, 4·C), after
  middle: Tensor; // (rows, C): the input plus attention
}

interface TinyActivations extends Activations {
  tokens: Tensor;
  /** Each block's input, (rows, C). */
  inputs: Tensor[];
  /** Empty where the backward pass computes them again. */
  blocks: Block[];
  norm: RmsNorm;
}

export class TinyModel implements LanguageModel {
  constructor(
    readonly architecture: Architecture,
    private readonly config: TinyConfig,
    readonly weights: Arena,
  ) {}

  forward(recorder: Recorder, tokens: Tensor, recompute = false): TinyActivations {
    const [B, T] = tokens.layout.shape;
    let x = this.#activation(recorder, 'embedding', B * T, this.config.hidden_size);
    lookup(recorder, tokens, this.weights.tensor('embed.weight'), x);
    const inputs: Tensor[] = [];
    const blocks: Block[] = [];
    for (let layer = 0; layer < this.config.num_hidden_layers; layer++) {
      const block = this.#block(recorder, x, layer, [B, T]);
      inputs.push(x);
      if (!recompute) blocks.push(block);
      x = this.#linear(recorder, block.active, `layers.${layer}.mlp.down`, {
        addend: block.middle,
      });
    }
    const norm = this.#norm(recorder, x, 'norm');
    return { tokens, inputs, blocks, norm, hidden: norm.y };
  }

  #block(recorder: Recorder, x: Tensor, layer: number, [B, T]: [number, number]): Block {
    const { hidden_size: C, num_attention_heads: H } = this.config;
    const name = `layers.${layer}`;
    const norm1 = this.#norm(recorder, x, `${name}.norm_1`);
    const attended = {
      qkv: this.#linear(recorder, norm1.y, `${name}.attention.qkv`),
      out: this.#activation(recorder, `${name}.attention`, B * T, C),
      lse: recorder.tensor(`${name}.lse`, Layout.contiguous([B, H, T]), 'f32'),
    };
    attention(recorder, attended);
    const middle = this.#linear(recorder, attended.out, `${name}.attention.out`, { addend: x });
    const norm2 = this.#norm(recorder, middle, `${name}.norm_2`);
    const active = this.#activation(recorder, `${name}.mlp.gelu`, B * T, 4 * C);
    const wide = this.#linear(recorder, norm2.y, `${name}.mlp.up`, { geluOutput: active });
    return { norm1, attention: attended, norm2, wide, active, middle };
  }

  #activation(recorder: Recorder, label: string, rows: number, columns: number): Tensor {
    return recorder.tensor(label, Layout.contiguous([rows, columns]), this.weights.dtype);
  }

  /** y = x · weight */
  #linear(recorder: Recorder, x: Tensor, name: string, options?: MatmulOptions): Tensor {
    const w = this.weights.tensor(`${name}.weight`);
    const y = this.#activation(recorder, name, x.layout.shape[0], w.layout.shape[1]);
    matmul(recorder, x, w, y, { ...options, label: name });
    return y;
  }

  #norm(recorder: Recorder, x: Tensor, name: string): RmsNorm {
    const [rows, C] = x.layout.shape;
    const norm = {
      x,
      gain: this.weights.tensor(`${name}.weight`),
      y: this.#activation(recorder, name, rows, C),
      rrms: recorder.tensor(`${name} rrms`, Layout.contiguous([rows]), 'f32'),
    };
    rmsNorm(recorder, norm, this.config.rms_norm_eps);
    return norm;
  }

  head(recorder: Recorder, hidden: Tensor, logits: Tensor, label?: string): void {
    head(recorder, this.weights.tensor('lm_head.weight'), hidden, logits, label);
  }

  headBackward(
    recorder: Recorder,
    gradients: Arena,
    rows: { hidden: Tensor; dlogits: Tensor; dhidden: Tensor },
  ): void {
    const [w, dw] = [this.weights, gradients].map((arena) => arena.tensor('lm_head.weight'));
    headBackward(recorder, w, dw, rows);
  }

  backward(
    recorder: Recorder,
    gradients: Arena,
    { tokens, inputs, blocks, norm }: TinyActivations,
    dhidden: Tensor,
  ): void {
    const [B, T] = tokens.layout.shape;
    const [rows, C] = dhidden.layout.shape;
    // y = x · w; where x = gelu(z), passing z returns z's gradient
    const linearBackward = (x: Tensor, dy: Tensor, name: string, geluInput?: Tensor): Tensor => {
      const dx = this.#activation(recorder, `d ${name}`, rows, x.layout.shape[1]);
      const w = this.weights.tensor(`${name}.weight`);
      matmul(recorder, dy, transposed(w), dx, { geluInput, label: `${name} dx` });
      const dw = gradients.tensor(`${name}.weight`);
      matmul(recorder, transposed(x), dy, dw, { accumulate: true, label: `${name} dw` });
      return dx;
    };
    const normBackward = (of: RmsNorm, dy: Tensor, name: string, addend?: Tensor): Tensor => {
      const dx = this.#activation(recorder, `d ${name}`, rows, C);
      const dgain = gradients.tensor(`${name}.weight`);
      rmsNormBackward(recorder, of, { dy, dx, dgain, addend });
      return dx;
    };

    let dx = normBackward(norm, dhidden, 'norm');
    for (let layer = inputs.length - 1; layer >= 0; layer--) {
      const name = `layers.${layer}`;
      const block = blocks[layer] ?? this.#block(recorder, inputs[layer], layer, [B, T]);
      // x = middle + down(gelu(up(norm_2(middle))))
      const dwide = linearBackward(block.active, dx, `${name}.mlp.down`, block.wide);
      const dnorm2 = linearBackward(block.norm2.y, dwide, `${name}.mlp.up`);
      const dmiddle = normBackward(block.norm2, dnorm2, `${name}.norm_2`, dx);
      // middle = x + out(attention(qkv(norm_1(x))))
      const dout = linearBackward(block.attention.out, dmiddle, `${name}.attention.out`);
      const dqkv = this.#activation(recorder, `d ${name}.qkv`, rows, 3 * C);
      const delta = recorder.tensor(`${name}.delta`, block.attention.lse.layout, 'f32');
      attentionBackward(recorder, block.attention, { dout, delta, dqkv });
      const dnorm1 = linearBackward(block.norm1.y, dqkv, `${name}.attention.qkv`);
      dx = normBackward(block.norm1, dnorm1, `${name}.norm_1`, dmiddle);
    }
    lookupBackward(recorder, tokens, dx, gradients.tensor('embed.weight'));
  }
}
