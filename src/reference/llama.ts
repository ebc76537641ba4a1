// The Llama family, whole: logits forward, and backward the gradient of every parameter under its
// Hugging Face name without `model.`. RMSNorm before each half of a block, rotary positions,
// grouped queries, SwiGLU, weights stored (out, in), and a head that is the embedding or its own
// matrix. Mistral, Qwen 2, Qwen 3 and SmolLM 3 differ in the config's last fields.

import { add, columnSum, matmul, type Numbers } from './arrays';
import {
  type ExpertsSizes,
  experts,
  expertsBackward,
  type Route,
  type RouterWeights,
  routerLossesBackward,
} from './experts';
import type { Parameters, Weights } from './gpt2';
import { attention, attentionBackward } from './layers';
import {
  type RotaryScaling,
  rmsNorm,
  rmsNormBackward,
  rotaryFrequencies,
  rotate,
  swiglu,
  swigluBackward,
} from './llama-layers';

/** What changes the result, under Hugging Face's names as far as it has one. */
export interface LlamaConfig {
  vocab_size: number;
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  rms_norm_eps: number;
  rope_theta: number;
  rope_scaling?: RotaryScaling | null;
  tie_word_embeddings: boolean;
  /** Of q, k and v alone, or of the output projection too. */
  attention_biases?: 'none' | 'qkv' | 'all';
  /** RMSNorm over each head of q and of k, or over all of q and of k. */
  head_norm?: 'each' | 'all';
  /** By layer, the keys that a query sees; 0 for all up to its own. */
  windows?: readonly number[];
  /** By layer, whether positions rotate queries and keys; they do by default. */
  rotated?: readonly boolean[];
  /** Layers have experts in place of one perceptron. */
  experts?: Omit<ExpertsSizes, 'C'> & {
    /** By layer; all have them by default. */
    layers?: readonly boolean[];
  };
}

/** Beside a router that scores by sigmoids; it has no gradient. */
const CHOICE_BIAS = 'mlp.gate.e_score_correction_bias';

/** The sizes of a layer's experts; undefined if it has none. */
const expertsOf = (
  { experts, hidden_size: C }: LlamaConfig,
  layer: number,
): ExpertsSizes | undefined =>
  experts && (experts.layers?.[layer] ?? true) ? { ...experts, C } : undefined;

/** Every parameter's name and shape. */
export function llamaShapes(config: LlamaConfig): Record<string, number[]> {
  const { vocab_size: V, hidden_size: C, intermediate_size: F, head_dim: D } = config;
  const { attention_biases: biases = 'none' } = config;
  const shapes: Record<string, number[]> = { 'embed_tokens.weight': [V, C] };
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const set = (name: string, ...shape: number[]) => {
      shapes[`layers.${layer}.${name}`] = shape;
    };
    const [query, key] = [config.num_attention_heads * D, config.num_key_value_heads * D];
    set('input_layernorm.weight', C);
    for (const [part, size] of Object.entries({ q: query, k: key, v: key })) {
      set(`self_attn.${part}_proj.weight`, size, C);
      if (biases !== 'none') set(`self_attn.${part}_proj.bias`, size);
    }
    set('self_attn.o_proj.weight', C, query);
    if (biases === 'all') set('self_attn.o_proj.bias', C);
    if (config.head_norm) {
      set('self_attn.q_norm.weight', config.head_norm === 'all' ? query : D);
      set('self_attn.k_norm.weight', config.head_norm === 'all' ? key : D);
    }
    set('post_attention_layernorm.weight', C);
    const perceptron = (name: string, F: number) => {
      set(`${name}.gate_proj.weight`, F, C);
      set(`${name}.up_proj.weight`, F, C);
      set(`${name}.down_proj.weight`, C, F);
    };
    const expert = expertsOf(config, layer);
    if (!expert) perceptron('mlp', F);
    else {
      set('mlp.gate.weight', expert.E, C);
      for (let e = 0; e < expert.E; e++) perceptron(`mlp.experts.${e}`, expert.F);
      if (expert.shared) perceptron('mlp.shared_experts', expert.shared);
      if (expert.score === 'sigmoid') set(CHOICE_BIAS, expert.E);
    }
  }
  shapes['norm.weight'] = [C];
  if (!config.tie_word_embeddings) shapes['lm_head.weight'] = [V, C];
  return shapes;
}

/** What the backward of a block reads of its forward. */
interface BlockActivations {
  input: Float64Array; // (N, C)
  normed1: Float64Array; // (N, C)
  projected: Float64Array; // (N, (NH + 2 NKV) D): q | k | v
  rotated: Float64Array; // (N, (NH + 2 NKV) D): normed and turned
  attended: Float64Array; // (N, NH D)
  middle: Float64Array; // (N, C): input + attention
  normed2: Float64Array; // (N, C)
  mlp: Perceptron | Route;
}

interface Perceptron {
  wide: Float64Array; // (N, 2F): gate | up
  activated: Float64Array; // (N, F)
}

export interface LlamaForward {
  /** (B, T, V) */
  logits: Float64Array;
  tokens: Numbers;
  B: number;
  T: number;
  starts?: Numbers;
  blocks: BlockActivations[];
  last: Float64Array; // (N, C): the residual stream after the last block
  normed: Float64Array; // (N, C)
}

/** The rows of a (N, width), `first` to `first` + `count` − 1 of each row's elements. */
function columns(x: Numbers, width: number, first: number, count: number): Float64Array {
  return Float64Array.from(
    { length: (x.length / width) * count },
    (_, i) => x[Math.floor(i / count) * width + first + (i % count)],
  );
}

/** Matrices (N, widths[i]) side by side. */
function beside(parts: readonly Numbers[], widths: readonly number[]): Float64Array {
  const N = parts[0].length / widths[0];
  return Float64Array.from(
    Array.from({ length: N }, (_, n) =>
      parts.map((part, i) => Array.from(part).slice(n * widths[i], (n + 1) * widths[i])),
    ).flat(2),
  );
}

function sizesOf(
  config: LlamaConfig,
  { B, T, starts }: Pick<LlamaForward, 'B' | 'T' | 'starts'>,
  layer: number,
) {
  const { num_attention_heads: NH, num_key_value_heads: NKV, head_dim: D } = config;
  return {
    widths: [NH * D, NKV * D, NKV * D],
    packed: (NH + 2 * NKV) * D,
    attention: { B, T, C: NH * D, NH, NKV, window: config.windows?.[layer] || undefined, starts },
    rotation: {
      T,
      heads: NH + 2 * NKV,
      rotated: (config.rotated?.[layer] ?? true) ? NH + NKV : 0,
      starts,
    },
    frequencies: rotaryFrequencies(D, config.rope_theta, config.rope_scaling),
  };
}

/**
 * Tokens (B, T) → logits (B, T, V), with the activations that `llamaBackward` reads. `starts`
 * (B, T) keeps attention and positions inside each document: see `gpt2Forward`.
 */
export function llamaForward(
  weights: Weights,
  config: LlamaConfig,
  tokens: Numbers,
  B: number,
  T: number,
  starts?: Numbers,
): LlamaForward {
  const { vocab_size: V, hidden_size: C, intermediate_size: F, rms_norm_eps: epsilon } = config;
  const N = B * T;
  const get = (name: string) => weights[name].data;
  const normalise = (x: Numbers, name: string) => rmsNorm(x, get(`${name}.weight`), epsilon).y;
  const linear = (x: Numbers, name: string, from: number, to: number) =>
    matmul(x, get(`${name}.weight`), N, from, to, {
      transposeB: true,
      bias: weights[`${name}.bias`]?.data,
    });

  const table = get('embed_tokens.weight');
  let x: Float64Array = Float64Array.from(
    { length: N * C },
    (_, i) => table[tokens[Math.floor(i / C)] * C + (i % C)],
  );
  const blocks: BlockActivations[] = [];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const at = `layers.${layer}`;
    const {
      widths,
      attention: sizes,
      rotation,
      frequencies,
    } = sizesOf(config, { B, T, starts }, layer);
    const input = x;
    const normed1 = normalise(input, `${at}.input_layernorm`);
    const parts = ['q', 'k', 'v'].map((part, i) =>
      linear(normed1, `${at}.self_attn.${part}_proj`, C, widths[i]),
    );
    const projected = beside(parts, widths);
    const normedParts = config.head_norm
      ? [
          normalise(parts[0], `${at}.self_attn.q_norm`),
          normalise(parts[1], `${at}.self_attn.k_norm`),
          parts[2],
        ]
      : parts;
    const rotated = rotate(beside(normedParts, widths), frequencies, rotation);
    const attended = attention(rotated, sizes).output;
    const middle = add(input, linear(attended, `${at}.self_attn.o_proj`, sizes.C, C));
    const normed2 = normalise(middle, `${at}.post_attention_layernorm`);
    const half = { input, normed1, projected, rotated, attended, middle, normed2 };
    const expertsSizes = expertsOf(config, layer);
    if (expertsSizes) {
      const matrix = (name: string) => get(`${at}.mlp.${name}.weight`);
      const bias = weights[`${at}.${CHOICE_BIAS}`]?.data;
      const made = experts(normed2, expertsSizes, matrix, bias);
      x = add(middle, made.y);
      blocks.push({ ...half, mlp: made.route });
      continue;
    }
    const gateAndUp = ['gate', 'up'].map((part) => linear(normed2, `${at}.mlp.${part}_proj`, C, F));
    const wide = beside(gateAndUp, [F, F]);
    const activated = swiglu(wide, F);
    x = add(middle, linear(activated, `${at}.mlp.down_proj`, F, C));
    blocks.push({ ...half, mlp: { wide, activated } });
  }
  const normed = normalise(x, 'norm');
  const head = get(config.tie_word_embeddings ? 'embed_tokens.weight' : 'lm_head.weight');
  const logits = matmul(normed, head, N, C, V, { transposeB: true });
  return { logits, tokens, B, T, starts, blocks, last: x, normed };
}

/** What the routers made of the tokens, layer by layer. */
export const routesOf = (blocks: readonly Pick<BlockActivations, 'mlp'>[]): Route[] =>
  blocks.flatMap(({ mlp }) => ('chosen' in mlp ? [mlp] : []));

/**
 * dlogits (B, T, V) → the gradient of every parameter, by name; `routers` weighs the losses of the
 * routers, which add theirs. It retraces `llamaForward` from its
 * last line to its first; each comment quotes the line that is differentiated.
 */
export function llamaBackward(
  weights: Weights,
  config: LlamaConfig,
  { tokens, B, T, starts, blocks, last, normed }: LlamaForward,
  dlogits: Numbers,
  routers: RouterWeights = { balance: 0, z: 0 },
): Parameters {
  const { vocab_size: V, hidden_size: C, intermediate_size: F, rms_norm_eps: epsilon } = config;
  const N = B * T;
  const routes = routesOf(blocks);
  const drouters = config.experts ? routerLossesBackward(routes, config.experts, routers) : [];
  const get = (name: string) => weights[name].data;
  const gradients: Parameters = Object.fromEntries(
    Object.entries(llamaShapes(config)).map(([name, shape]) => [
      name,
      { shape, data: new Float64Array(shape.reduce((product, size) => product * size, 1)) },
    ]),
  );
  const set = (name: string, data: Float64Array) => gradients[name].data.set(data);

  // y = x · Wᵀ + b
  const linearBackward = (dy: Numbers, x: Numbers, name: string, from: number, to: number) => {
    set(`${name}.weight`, matmul(dy, x, to, N, from, { transposeA: true }));
    if (gradients[`${name}.bias`]) set(`${name}.bias`, columnSum(dy, N, to));
    return matmul(dy, get(`${name}.weight`), N, to, from);
  };
  const normaliseBackward = (dy: Numbers, x: Numbers, name: string) => {
    const { dx, dgain } = rmsNormBackward(dy, x, get(`${name}.weight`), epsilon);
    set(`${name}.weight`, dgain);
    return dx;
  };

  // logits = normed · headᵀ
  const head = config.tie_word_embeddings ? 'embed_tokens.weight' : 'lm_head.weight';
  set(head, matmul(dlogits, normed, V, N, C, { transposeA: true }));
  let dx = normaliseBackward(matmul(dlogits, get(head), N, V, C), last, 'norm');
  for (let layer = config.num_hidden_layers - 1; layer >= 0; layer--) {
    const at = `layers.${layer}`;
    const {
      widths,
      packed,
      attention: sizes,
      rotation,
      frequencies,
    } = sizesOf(config, { B, T, starts }, layer);
    const block = blocks[layer];
    const { mlp, normed2 } = block;
    const dmlp = () => {
      if ('chosen' in mlp) {
        // x = middle + experts(normed2)
        return expertsBackward(dx, normed2, mlp, expertsOf(config, layer) as ExpertsSizes, {
          matrix: (name) => get(`${at}.mlp.${name}.weight`),
          dlogits: drouters[routes.indexOf(mlp)],
          accumulate(name, d) {
            const { data } = gradients[`${at}.mlp.${name}.weight`];
            for (let i = 0; i < d.length; i++) data[i] += d[i];
          },
        });
      }
      // x = middle + down(swiglu(gate | up))
      const dactivated = linearBackward(dx, mlp.activated, `${at}.mlp.down_proj`, F, C);
      const dwide = swigluBackward(dactivated, mlp.wide, F);
      return ['gate', 'up']
        .map((part, i) =>
          linearBackward(columns(dwide, 2 * F, i * F, F), normed2, `${at}.mlp.${part}_proj`, C, F),
        )
        .reduce(add);
    };
    const dmiddle = add(
      dx,
      normaliseBackward(dmlp(), block.middle, `${at}.post_attention_layernorm`),
    );
    // middle = input + o(attention(rotate(norm(q | k | v))))
    const dattended = linearBackward(dmiddle, block.attended, `${at}.self_attn.o_proj`, sizes.C, C);
    const drotated = attentionBackward(dattended, block.rotated, sizes);
    const dnormed = rotate(drotated, frequencies, rotation, -1);
    const offsets = [0, widths[0], widths[0] + widths[1]];
    const dparts = ['q', 'k', 'v'].map((part, i) => {
      const dpart = columns(dnormed, packed, offsets[i], widths[i]);
      if (!config.head_norm || part === 'v') return dpart;
      const x = columns(block.projected, packed, offsets[i], widths[i]);
      return normaliseBackward(dpart, x, `${at}.self_attn.${part}_norm`);
    });
    const dnormed1 = dparts
      .map((dpart, i) =>
        linearBackward(
          dpart,
          block.normed1,
          `${at}.self_attn.${['q', 'k', 'v'][i]}_proj`,
          C,
          widths[i],
        ),
      )
      .reduce(add);
    dx = add(dmiddle, normaliseBackward(dnormed1, block.input, `${at}.input_layernorm`));
  }
  // x = embed_tokens[token]; a tied table has the head's gradient already.
  const { data: dtable } = gradients['embed_tokens.weight'];
  for (let i = 0; i < N * C; i++) dtable[tokens[Math.floor(i / C)] * C + (i % C)] += dx[i];
  return gradients;
}
