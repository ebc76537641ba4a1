// The Llama family, forward and backward, as dispatches on a Recorder: RMSNorm before each half of
// a block, rotary positions, query heads that share keys and values, SwiGLU, or experts
// (experts.ts).
//
// B batch, T length, C width, H query heads, KV heads of keys and values, D head size, F width of
// the perceptron, V vocabulary, rows = B·T. Projections that read the same input are one product:
// their weights lie side by side in the arena.

import type { Recorder, Tensor } from '../../gpu/program';
import { type Attention, attentionBackward } from '../../kernels/attention';
import { columnSum } from '../../kernels/column_sum';
import { embedding, embeddingBackward } from '../../kernels/embedding';
import { type MatmulOptions, matmul } from '../../kernels/matmul';
import { type RmsNorm, rmsNorm, rmsNormBackward } from '../../kernels/rms_norm';
import {
  type HeadNorm,
  headNorm,
  headNormBackward,
  rotary,
  rotaryTable,
} from '../../kernels/rotary';
import { swiglu, swigluBackward } from '../../kernels/swiglu';
import { transposed } from '../../kernels/tensors';
import { Layout } from '../../tensor/layout';
import type {
  Activations,
  Architecture,
  DocumentTensors,
  ForwardOptions,
  LanguageModel,
  RoutedLayer,
  RouterGradient,
} from '../family';
import { head, headBackward } from '../head';
import { attend, type LayerKeyValues, layerOf, rowsAt } from '../key-values';
import type { LowRank } from '../low-rank';
import type { Arena, ParameterTensors } from '../parameters';
import {
  expertsOf,
  gateUp,
  HEAD_NORMS,
  headName,
  isRotated,
  joinedNames,
  type LlamaConfig,
  QKV,
  SHARED,
  windowOf,
} from './config';
import { ExpertsLayer, type RoutedRows } from './experts';
import { rotaryFrequencies } from './rotation';

interface Block {
  norm1: RmsNorm;
  /** Present where q and k are normed. */
  heads?: HeadNorm;
  attention: Attention;
  /** (rows, C): between attention and the multilayer perceptron. */
  middle: Tensor;
  norm2: RmsNorm;
  mlp: Perceptron | RoutedRows;
  /** What all rows meet beside their experts. */
  shared?: Perceptron;
}

interface Perceptron {
  /** (rows, 2·F): gate | up */
  wide: Tensor;
  /** (rows, F) */
  active: Tensor;
}

interface LlamaActivations extends Activations {
  tokens: Tensor; // (B, T) u32
  documents?: DocumentTensors;
  /** (T, D / 2, 2), or with documents (B·T, D / 2, 2): cosine and sine of each row's angles */
  table: Tensor;
  /** Each block's input, (rows, C). */
  inputs: Tensor[];
  /** Each block's activations; empty where the backward pass computes them again. */
  blocks: Block[];
  norm: RmsNorm;
}

export class LlamaModel implements LanguageModel {
  constructor(
    readonly architecture: Architecture,
    private readonly config: LlamaConfig,
    readonly weights: ParameterTensors,
    private readonly adapters?: LowRank,
  ) {}

  /** With `recompute` a step costs a third more, and holds activations of one block at a time. */
  forward(
    recorder: Recorder,
    tokens: Tensor,
    { recompute = false, keyValues, documents }: ForwardOptions = {},
  ): LlamaActivations {
    const [B, T] = tokens.layout.shape;
    const { hidden_size: C, num_hidden_layers, max_position_embeddings: P } = this.config;
    if (T > P) throw new Error(`Llama: a context of ${T} tokens; the model has ${P} positions.`);
    const { head_dim, rope_theta, rope_scaling } = this.config;
    const frequencies = rotaryFrequencies(head_dim, rope_theta, rope_scaling);
    const positions = keyValues?.layers[0].layout.shape[0] ?? T;
    const turns = rotaryTable(recorder, frequencies, positions);
    const table = rowsAt(recorder, turns, documents?.positions ?? keyValues?.position);
    let x = this.#activation(recorder, 'embedding', B * T, C);
    embedding(recorder, tokens, this.weights.tensor('embed_tokens.weight'), undefined, x);
    const inputs: Tensor[] = [];
    const blocks: Block[] = [];
    const routed: RoutedLayer[] = [];
    for (let layer = 0; layer < num_hidden_layers; layer++) {
      const own = layerOf(keyValues, layer);
      const block = this.#block(recorder, x, { layer, table, documents, B, T }, own);
      inputs.push(x);
      if (!recompute) blocks.push(block);
      const experts = this.#experts(layer);
      if (experts && 'route' in block.mlp) routed.push(experts.routed(block.mlp));
      x = this.#output(recorder, block, layer);
    }
    const norm = this.#norm(recorder, x, 'norm');
    return { tokens, table, documents, inputs, blocks, norm, hidden: norm.y, routed };
  }

  /**
   * Records a block up to its last product: x (rows, C) + attention, then what the multilayer
   * perceptron projects back.
   */
  #block(
    recorder: Recorder,
    x: Tensor,
    {
      layer,
      table,
      documents,
      B,
      T,
    }: { layer: number; table: Tensor; documents?: DocumentTensors; B: number; T: number },
    keyValues?: LayerKeyValues,
  ): Block {
    const { num_attention_heads: NH, head_dim: D } = this.config;
    const at = `layers.${layer}`;
    const norm1 = this.#norm(recorder, x, `${at}.input_layernorm`);
    const projected = this.#linear(recorder, norm1.y, layer, QKV);
    const heads = this.#turn(recorder, projected, layer, table);
    const attended: Attention = {
      qkv: heads?.y ?? projected,
      out: this.#activation(recorder, `${at}.attn`, B * T, NH * D),
      lse: recorder.tensor(`${at}.lse`, Layout.contiguous([B, NH, T]), 'f32'),
      window: windowOf(this.config, layer),
      documents: documents?.spans,
    };
    attend(recorder, attended, keyValues);
    const middle = this.#linear(recorder, attended.out, layer, ['self_attn.o_proj'], { addend: x });
    const norm2 = this.#norm(recorder, middle, `${at}.post_attention_layernorm`);
    const mlp =
      this.#experts(layer)?.forward(recorder, norm2.y) ??
      this.#perceptron(recorder, norm2.y, layer, 'mlp');
    const shared = this.#hasShared(layer)
      ? this.#perceptron(recorder, norm2.y, layer, SHARED)
      : undefined;
    return { norm1, heads, attention: attended, middle, norm2, mlp, shared };
  }

  #experts(layer: number): ExpertsLayer | undefined {
    const experts = expertsOf(this.config, layer);
    return experts && new ExpertsLayer(this.weights, experts, layer);
  }

  #hasShared = (layer: number): boolean =>
    this.weights.has(joinedNames(layer, gateUp(SHARED), 'weight')[0]);

  #perceptron(recorder: Recorder, x: Tensor, layer: number, module: string): Perceptron {
    const wide = this.#linear(recorder, x, layer, gateUp(module));
    const label = `layers.${layer}.${module}.swiglu`;
    const [rows, width] = wide.layout.shape;
    const active = this.#activation(recorder, label, rows, width / 2);
    swiglu(recorder, wide, active, label);
    return { wide, active };
  }

  /** What a block adds to its middle, and the middle: the next block's input. */
  #output(recorder: Recorder, { mlp, shared, middle }: Block, layer: number): Tensor {
    const down = ({ active }: Perceptron, module: string) =>
      this.#linear(recorder, active, layer, [`${module}.down_proj`], { addend: middle });
    if (!('route' in mlp)) return down(mlp, 'mlp');
    const [rows, C] = middle.layout.shape;
    const addend = shared ? down(shared, SHARED) : middle;
    const y = this.#activation(recorder, `layers.${layer}.mlp`, rows, C);
    this.#experts(layer)?.combine(recorder, mlp, y, addend);
    return y;
  }

  /** Turns q and k in place by their positions; where they are normed, into another tensor. */
  #turn(recorder: Recorder, x: Tensor, layer: number, table: Tensor): HeadNorm | undefined {
    const label = `layers.${layer}.self_attn.rotary`;
    const { weights } = this;
    if (!this.#hasHeadNorm) {
      if (isRotated(this.config, layer)) rotary(recorder, x, table, this.#counts, { label });
      return undefined;
    }
    const { NH, NKV } = this.#counts;
    const [rows, width] = x.layout.shape;
    const gains = weights.joined(joinedNames(layer, HEAD_NORMS, 'weight'));
    const units = gains.layout.numel === 2 * this.config.head_dim ? NH + NKV : 2;
    const norm = {
      x,
      gains,
      table,
      y: this.#activation(recorder, label, rows, width),
      rrms: recorder.tensor(`${label} rrms`, Layout.contiguous([rows, units]), 'f32'),
    };
    headNorm(recorder, norm, this.#counts, this.config.rms_norm_eps, label);
    return norm;
  }

  get #counts() {
    return { NH: this.config.num_attention_heads, NKV: this.config.num_key_value_heads };
  }

  get #hasHeadNorm(): boolean {
    return this.weights.has(joinedNames(0, HEAD_NORMS, 'weight')[0]);
  }

  #activation(recorder: Recorder, label: string, rows: number, columns: number): Tensor {
    return recorder.tensor(label, Layout.contiguous([rows, columns]), this.weights.dtype);
  }

  /** y (rows, columns) = x · wᵀ + bias + what adapters add; w (columns, C): those of `parts` */
  #linear(
    recorder: Recorder,
    x: Tensor,
    layer: number,
    parts: readonly string[],
    options?: MatmulOptions,
  ): Tensor {
    const w = this.weights.operand(recorder, joinedNames(layer, parts, 'weight'));
    const label = labelOf(layer, parts);
    const y = this.#activation(recorder, label, x.layout.shape[0], w.layout.shape[0]);
    const bias = this.#bias(this.weights, layer, parts);
    matmul(recorder, x, transposed(w), y, { ...options, bias, label });
    this.#adaptersOf(layer, parts)?.forward(recorder, { x, y }, { label });
    return y;
  }

  #adaptersOf(layer: number, parts: readonly string[]) {
    const columns = (name: string) => this.weights.shape(name)[0];
    const names = joinedNames(layer, parts, 'weight');
    return this.adapters?.of(names.map((name) => ({ name, columns: columns(name) })));
  }

  #bias(arena: ParameterTensors, layer: number, parts: readonly string[]): Tensor | undefined {
    const names = joinedNames(layer, parts, 'bias');
    return arena.has(names[0]) ? arena.joined(names) : undefined;
  }

  #norm(recorder: Recorder, x: Tensor, name: string): RmsNorm {
    const [rows, C] = x.layout.shape;
    const norm = {
      x,
      gain: this.weights.tensor(`${name}.weight`),
      y: this.#activation(recorder, name, rows, C),
      rrms: recorder.tensor(`${name} rrms`, Layout.contiguous([rows]), 'f32'),
    };
    rmsNorm(recorder, norm, this.config.rms_norm_eps, name);
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
    { tokens, table, documents, inputs, blocks, norm }: LlamaActivations,
    dhidden: Tensor,
    order: Tensor,
    routerGradient?: RouterGradient,
  ): void {
    const { weights } = this;
    const [B, T] = tokens.layout.shape;
    const [rows, C] = dhidden.layout.shape;
    const activation = (label: string, columns: number) =>
      this.#activation(recorder, `d ${label}`, rows, columns);
    // y = x · wᵀ + bias
    const linearBackward = (
      x: Tensor,
      dy: Tensor,
      layer: number,
      parts: readonly string[],
      /** What to add dx to. */
      sum?: Tensor,
    ) => {
      const label = labelOf(layer, parts);
      const names = joinedNames(layer, parts, 'weight');
      const dx = sum ?? activation(label, x.layout.shape[1]);
      const accumulate = sum !== undefined;
      const w = weights.operand(recorder, names);
      matmul(recorder, dy, w, dx, { accumulate, label: `${label} dx` });
      this.#adaptersOf(layer, parts)?.backward(recorder, gradients, { x, dy, dx }, { label });
      const dw = gradients.has(names[0]) && gradients.joined(names);
      if (dw) matmul(recorder, transposed(dy), x, dw, { accumulate: true, label: `${label} dw` });
      const dbias = this.#bias(gradients, layer, parts);
      if (dbias) columnSum(recorder, dy, dbias, `${label} dbias`);
      return dx;
    };
    // y = norm(x); the addend is the gradient that reaches x along the residual
    const normBackward = (of: RmsNorm, dy: Tensor, name: string, addend?: Tensor): Tensor => {
      const dx = activation(name, C);
      const dgain = gradients.find(`${name}.weight`);
      rmsNormBackward(recorder, of, { dy, dx, dgain, addend }, name);
      return dx;
    };

    const mlpBackward = ({ mlp, shared, norm2 }: Block, dy: Tensor, layer: number): Tensor => {
      // x = middle + down(swiglu(gate | up))
      const perceptronBackward = ({ wide, active }: Perceptron, module: string, sum?: Tensor) => {
        const at = `layers.${layer}.${module}`;
        const dactive = linearBackward(active, dy, layer, [`${module}.down_proj`]);
        const dwide = activation(`${at}.gate_up`, wide.layout.shape[1]);
        swigluBackward(recorder, wide, { dy: dactive, dx: dwide }, `${at}.swiglu d`);
        return linearBackward(norm2.y, dwide, layer, gateUp(module), sum);
      };
      if (!('route' in mlp)) return perceptronBackward(mlp, 'mlp');
      // x = middle + experts(norm2) + shared(norm2)
      const dx = activation(`layers.${layer}.mlp`, C);
      const io = { x: norm2.y, dy, dx };
      this.#experts(layer)?.backward(recorder, gradients, mlp, io, routerGradient);
      return shared ? perceptronBackward(shared, SHARED, dx) : dx;
    };

    let dx = normBackward(norm, dhidden, 'norm');
    for (let layer = inputs.length - 1; layer >= 0; layer--) {
      const at = `layers.${layer}`;
      const block =
        blocks[layer] ?? this.#block(recorder, inputs[layer], { layer, table, documents, B, T });
      const dnorm2 = mlpBackward(block, dx, layer);
      const dmiddle = normBackward(block.norm2, dnorm2, `${at}.post_attention_layernorm`, dx);
      // middle = x + o(attention(turn(q | k | v)))
      const dout = linearBackward(block.attention.out, dmiddle, layer, ['self_attn.o_proj']);
      const dqkv = activation(`${at}.qkv`, block.attention.qkv.layout.shape[1]);
      const delta = recorder.tensor(`${at}.delta`, block.attention.lse.layout, 'f32');
      attentionBackward(recorder, block.attention, { dout, delta, dqkv });
      this.#turnBackward(recorder, gradients, { block, dqkv, layer, table });
      const dnorm1 = linearBackward(block.norm1.y, dqkv, layer, QKV);
      dx = normBackward(block.norm1, dnorm1, `${at}.input_layernorm`, dmiddle);
    }
    // x = embed_tokens[token]
    const dwte = gradients.find('embed_tokens.weight');
    if (dwte) embeddingBackward(recorder, { tokens, order, dx, dwte });
  }

  /** Differentiates `#turn`, in place: dqkv becomes the gradient of what was turned. */
  #turnBackward(
    recorder: Recorder,
    gradients: Arena,
    { block, dqkv, layer, table }: { block: Block; dqkv: Tensor; layer: number; table: Tensor },
  ): void {
    const label = `layers.${layer}.self_attn.rotary d`;
    if (block.heads) {
      const names = joinedNames(layer, HEAD_NORMS, 'weight');
      const dgains = gradients.has(names[0]) ? gradients.joined(names) : undefined;
      headNormBackward(recorder, block.heads, this.#counts, { d: dqkv, dgains }, label);
    } else if (isRotated(this.config, layer)) {
      rotary(recorder, dqkv, table, this.#counts, { direction: -1, label });
    }
  }
}

/** A dispatch's label: `layers.3.mlp.down_proj`, or `layers.3.mlp.gate_proj+up_proj`. */
const labelOf = (layer: number, [first, ...others]: readonly string[]): string =>
  [`layers.${layer}.${first}`, ...others.map((part) => part.replace(/^\w+\./, ''))].join('+');
