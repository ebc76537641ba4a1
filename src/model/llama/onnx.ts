// A model of the Llama family as an ONNX graph of standard operators: input_ids (B, T) int64 ->
// logits (B, T, V). With `cached`, for programs that generate text, the inputs are those of
// transformers.js's own conversions: attention_mask (B, P + T), which is 0 for padding,
// position_ids (B, T), and past_key_values.N.key and .value (B, KV, P, D) of P earlier tokens;
// present.N.key and .value (B, KV, P + T, D) are outputs.
//
// In f16, weights and matrix products are f16. The residual stream, norms, rotations and the
// softmax are f32: rounding accumulates over layers in the first, and the others sum over many
// values.

import type { Piece } from '../../files/pieces';
import {
  addPaddingMask,
  BESIDE_TOKENS,
  type GraphValue,
  MASKED,
  ONNX_TYPE,
  OnnxGraph,
  past,
  present,
} from '../onnx-graph';
import { isVector, type Parameter } from '../parameters';
import { type Experts, expertsOf, headName, isRotated, type LlamaConfig, windowOf } from './config';
import { rotaryFrequencies } from './rotation';

interface Options {
  dtype: 'f32' | 'f16';
  /** Whether the graph also takes and returns the keys and values of earlier tokens. */
  cached: boolean;
}

/** model.onnx (`f32`) or model_fp16.onnx (`f16`); a tied head is stored once. */
export function onnxPieces(
  config: LlamaConfig,
  parameters: readonly Parameter[],
  { dtype, cached }: Options,
): Piece[] {
  const { vocab_size: V, head_dim: D, num_hidden_layers: layers } = config;
  const { num_attention_heads: H, num_key_value_heads: KV } = config;
  const graph = new OnnxGraph();
  for (const parameter of parameters) addParameter(graph, parameter, dtype);
  const named = new Map(parameters.map(({ name, shape }) => [name, shape]));

  const cast = (value: string, to: 'f32' | 'f16') =>
    dtype === 'f32' ? value : graph.add(`${value}.${to}`, 'Cast', [value], { to: ONNX_TYPE[to] });
  /** x (…, from) f32 → (…, to) f32 */
  const linear = (x: string, name: string) => {
    const product = cast(graph.add(`${name}.product`, 'MatMul', [x, `${name}.weight`]), 'f32');
    return named.has(`${name}.bias`) ? graph.add(name, 'Add', [product, `${name}.bias`]) : product;
  };
  const [epsilon, scale] = [
    graph.constant('epsilon', 'f32', [], [config.rms_norm_eps]),
    graph.constant('scale', 'f32', [], [1 / Math.sqrt(D)]),
  ];
  const lastAxis = graph.constant('last_axis', 'i64', [1], [-1]);
  /** x f32, normed over its last dimension, f32 */
  const norm = (x: string, name: string, at = name) => {
    const squares = graph.add(`${at}.squares`, 'Mul', [x, x]);
    const mean = graph.add(`${at}.mean`, 'ReduceMean', [squares, lastAxis], { keepdims: 1 });
    const stable = graph.add(`${at}.stable`, 'Add', [mean, epsilon]);
    const unit = graph.add(`${at}.unit`, 'Div', [x, graph.add(`${at}.rms`, 'Sqrt', [stable])]);
    return graph.add(at, 'Mul', [unit, `${name}.weight`]);
  };
  /** x (…, C) → (…, C) f32 */
  const perceptron = (x: string, name: string) => {
    const gate = linear(x, `${name}.gate_proj`);
    const sigmoid = graph.add(`${name}.sigmoid`, 'Sigmoid', [gate]);
    const silu = graph.add(`${name}.silu`, 'Mul', [gate, sigmoid]);
    const active = graph.add(`${name}.active`, 'Mul', [silu, linear(x, `${name}.up_proj`)]);
    return linear(cast(active, dtype), `${name}.down_proj`);
  };
  /**
   * x (…, C) → (…, C) f32. The graph has no products by expert: all experts compute, and those that
   * a token does not choose weigh 0.
   */
  const chosenExperts = (x: string, name: string, experts: Experts) => {
    const { num_experts: E, num_experts_per_tok: k, norm_topk_prob: normalised } = experts;
    const { routed_scaling_factor: factor = 1, n_shared_experts } = experts;
    const logits = linear(x, `${name}.gate`);
    const sigmoid = experts.scoring_func === 'sigmoid';
    const p = sigmoid
      ? graph.add(`${name}.p`, 'Sigmoid', [logits])
      : graph.add(`${name}.p`, 'Softmax', [logits], { axis: -1 });
    const score = sigmoid
      ? graph.add(`${name}.score`, 'Add', [p, `${name}.gate.e_score_correction_bias`])
      : p;
    const [best, chosen] = [`${name}.best`, `${name}.chosen`];
    const count = graph.constant(`${name}.k`, 'i64', [1], [k]);
    graph.add(best, 'TopK', [score, count], { axis: -1 }, [best, chosen]);
    const ofChosen = sigmoid
      ? graph.add(`${name}.p.chosen`, 'GatherElements', [p, chosen], { axis: -1 })
      : best;
    const total = normalised && graph.add(`${name}.total`, 'ReduceSum', [ofChosen, lastAxis]);
    const parts = total ? graph.add(`${name}.weights`, 'Div', [ofChosen, total]) : ofChosen;
    const weights =
      factor === 1
        ? parts
        : graph.add(`${name}.scaled`, 'Mul', [
            parts,
            graph.constant(`${name}.factor`, 'f32', [], [factor]),
          ]);
    const none = graph.add(`${name}.none`, 'Sub', [p, p]);
    const scattered = [none, chosen, weights];
    const all = graph.add(`${name}.all`, 'ScatterElements', scattered, { axis: -1 });
    const shares = Array.from({ length: E }, (_, e) => `${name}.experts.${e}.share`);
    graph.add(`${name}.shares`, 'Split', [all], { axis: -1, num_outputs: E }, shares);
    const made = shares.map((share, e) => {
      const alone = perceptron(x, `${name}.experts.${e}`);
      return graph.add(`${name}.experts.${e}.weighted`, 'Mul', [alone, share]);
    });
    if (n_shared_experts) made.push(perceptron(x, `${name}.shared_experts`));
    return made.reduce((sum, more, i) => graph.add(`${name}.sum.${i}`, 'Add', [sum, more]));
  };
  const shape = (name: string, ...sizes: number[]) =>
    graph.constant(name, 'i64', [sizes.length], sizes);
  const splitQueries = shape('split_queries', 0, 0, H, D);
  const splitKeys = shape('split_keys', 0, 0, KV, D);
  // The query heads that share keys, one below the other.
  const group = shape('group', 0, KV, -1, D);
  const ungroupScores = shape('ungroup_scores', 0, H, -1, 0);
  const groupScores = shape('group_scores', 0, KV, -1, 0);
  const ungroup = shape('ungroup', 0, H, -1, D);
  const mergeHeads = shape('merge_heads', 0, 0, H * D);
  const byHead = { perm: [0, 2, 1, 3] };

  const { turn, maskOf } = positions(graph, config, cached);
  let h = cast(graph.add('embedding', 'Gather', ['embed_tokens.weight', 'input_ids']), 'f32');
  for (let layer = 0; layer < layers; layer++) {
    const at = (part: string) => `layers.${layer}.${part}`;
    const normed = cast(norm(h, at('input_layernorm')), dtype);
    const split = (part: 'q' | 'k' | 'v', sizes: string) => {
      const projected = linear(normed, at(`self_attn.${part}_proj`));
      const name = at(`self_attn.${part}_norm`);
      const [gains] = named.get(`${name}.weight`) ?? [];
      // Over all heads, each head, or none.
      const whole = gains !== undefined && gains !== D ? norm(projected, name) : projected;
      const heads = graph.add(at(`${part}.heads`), 'Reshape', [whole, sizes]);
      const of = gains === D ? norm(heads, name) : heads;
      return graph.add(at(`${part}.by_head`), 'Transpose', [of], byHead); // (B, H, T, D)
    };
    const turned = (x: string) => (isRotated(config, layer) ? turn(x) : x);
    const scaled = graph.add(at('q.scaled'), 'Mul', [turned(split('q', splitQueries)), scale]);
    const now = { key: turned(split('k', splitKeys)), value: split('v', splitKeys) };
    const [k, v] = (['key', 'value'] as const).map((part) => {
      const own = cast(now[part], dtype);
      return cached
        ? graph.add(present(layer, part), 'Concat', [past(layer, part), own], { axis: 2 })
        : own;
    });
    const q = graph.add(at('q.grouped'), 'Reshape', [cast(scaled, dtype), group]);
    const kT = graph.add(at('k.transposed'), 'Transpose', [k], { perm: [0, 1, 3, 2] });
    const products = cast(graph.add(at('products'), 'MatMul', [q, kT]), 'f32');
    const scores = graph.add(at('scores'), 'Reshape', [products, ungroupScores]);
    const masked = graph.add(at('masked'), 'Add', [scores, maskOf(layer)]); // (B, H, T, P + T)
    const attention = cast(graph.add(at('attention'), 'Softmax', [masked], { axis: -1 }), dtype);
    const grouped = graph.add(at('attention.grouped'), 'Reshape', [attention, groupScores]);
    const mixed = graph.add(at('mixed'), 'Reshape', [
      graph.add(at('mixed.grouped'), 'MatMul', [grouped, v]),
      ungroup,
    ]);
    const merged = graph.add(at('merged'), 'Reshape', [
      graph.add(at('by_position'), 'Transpose', [mixed], byHead),
      mergeHeads,
    ]);
    const middle = graph.add(at('middle'), 'Add', [h, linear(merged, at('self_attn.o_proj'))]);
    const normed2 = cast(norm(middle, at('post_attention_layernorm')), dtype);
    const experts = expertsOf(config, layer);
    const made = experts
      ? chosenExperts(normed2, at('mlp'), experts)
      : perceptron(normed2, at('mlp'));
    h = graph.add(at('output'), 'Add', [middle, made]);
  }
  // A runtime folds this transpose of a constant when it loads the model, and the file holds the
  // matrix once.
  const head = graph.add('head', 'Transpose', [headName(config)], { perm: [1, 0] });
  graph.add('logits', 'MatMul', [cast(norm(h, 'norm'), dtype), head]);

  const earlier = (name: typeof past, tokens: string) =>
    Array.from({ length: cached ? layers : 0 }, (_, layer) =>
      (['key', 'value'] as const).map(
        (part): GraphValue => [name(layer, part), dtype, ['batch', KV, tokens, D]],
      ),
    ).flat();
  return graph.pieces(
    config.model_type,
    [
      ['input_ids', 'i64', ['batch', 'sequence']],
      ...(cached ? BESIDE_TOKENS : []),
      ...earlier(past, 'past'),
    ],
    [['logits', dtype, ['batch', 'sequence', V]], ...earlier(present, 'past + sequence')],
  );
}

/**
 * Gains and biases meet f32 values and stay f32. A linear weight is stored (in, out), as MatMul
 * takes it.
 */
function addParameter(graph: OnnxGraph, { name, role, shape }: Parameter, dtype: 'f32' | 'f16') {
  if (!['matrix', 'router', 'expert'].includes(role)) {
    graph.parameter({ name, shape }, isVector(role) ? 'f32' : dtype);
    return;
  }
  const [to, from] = shape;
  const transposed = (values: Float32Array) =>
    values.map((_, i) => values[(i % to) * from + Math.floor(i / to)]);
  graph.parameter({ name, shape: [from, to] }, dtype, transposed);
}

/** What depends on positions: how heads are turned, and what a layer's queries do not see. */
function positions(graph: OnnxGraph, config: LlamaConfig, cached: boolean) {
  const { max_position_embeddings: P, head_dim: D, rope_theta, rope_scaling } = config;
  const toF32 = (name: string, value: string) =>
    graph.add(name, 'Cast', [value], { to: ONNX_TYPE.f32 });
  // T, as the one-element tensor that Slice takes.
  const length = graph.add('length', 'Shape', ['input_ids'], { start: 1, end: 2 });
  const [zero, one] = [0, 1].map((n) => graph.constant(`n${n}`, 'i64', [1], [n]));
  // Floats, because onnxruntime slices them on the GPU, and integers on the CPU.
  const indices = Array.from({ length: P }, (_, i) => i);
  const columns = graph.constant('columns', 'f32', [1, P], indices);
  const rows = graph.constant('rows', 'f32', [P, 1], indices);
  const begin = cached
    ? graph.add('past_length', 'Shape', [past(0, 'key')], { start: 2, end: 3 })
    : zero;
  const end = cached ? graph.add('total_length', 'Add', [begin, length]) : length;
  const keys = graph.add('keys', 'Slice', [columns, zero, end, one]); // (1, P + T)
  const queries = graph.add('queries', 'Slice', [rows, begin, end, zero]); // (T, 1)

  const tokens = cached
    ? toF32('positions', 'position_ids') // (B, T)
    : graph.add('positions', 'Slice', [columns, zero, end, one]); // (1, T)
  const lastAxis = 'last_axis';
  const column = graph.add('positions.column', 'Unsqueeze', [tokens, lastAxis]);
  const frequencies = [...rotaryFrequencies(D, rope_theta, rope_scaling)];
  const half = graph.add('angles', 'Mul', [
    column,
    graph.constant('frequencies', 'f32', [D / 2], frequencies),
  ]);
  const angles = graph.add('angles.twice', 'Concat', [half, half], { axis: -1 }); // (B, T, D)
  const [cosine, sine] = ['Cos', 'Sin'].map((operator) =>
    graph.add(`${operator}.by_head`, 'Unsqueeze', [graph.add(operator, operator, [angles]), one]),
  );

  const [seen, unseen] = [
    graph.constant('seen', 'f32', [], [0]),
    graph.constant('unseen', 'f32', [], [MASKED]),
  ];
  const causal = graph.add('causal', 'LessOrEqual', [keys, queries]);
  const padding = cached && addPaddingMask(graph, { seen, unseen });
  const maskFrom = (name: string, visible: string) => {
    const mask = graph.add(name, 'Where', [visible, seen, unseen]); // (T, P + T)
    return padding ? graph.add(`${name}.padded`, 'Add', [mask, padding]) : mask; // (B, 1, T, P + T)
  };
  const masks = new Map<number | undefined, string>();
  const maskOf = (layer: number): string => {
    const window = windowOf(config, layer);
    const made = masks.get(window);
    if (made) return made;
    const name = window === undefined ? 'mask' : 'window_mask';
    let visible = causal;
    if (window !== undefined) {
      const size = graph.constant('window', 'f32', [], [window]);
      const first = graph.add('window_start', 'Sub', [queries, size]);
      const recent = graph.add('recent', 'Greater', [keys, first]);
      visible = graph.add('in_window', 'And', [causal, recent]);
    }
    const mask = maskFrom(name, visible);
    masks.set(window, mask);
    return mask;
  };

  /** x (B, H, T, D) f32: y = x · cos + (−second half | first half) · sin */
  const turn = (x: string): string => {
    const halves = [`${x}.first`, `${x}.second`];
    graph.add(`${x}.halves`, 'Split', [x], { axis: -1, num_outputs: 2 }, halves);
    const negative = graph.add(`${x}.negative`, 'Neg', [halves[1]]);
    const swapped = graph.add(`${x}.swapped`, 'Concat', [negative, halves[0]], { axis: -1 });
    return graph.add(`${x}.turned`, 'Add', [
      graph.add(`${x}.cosine`, 'Mul', [x, cosine]),
      graph.add(`${x}.sine`, 'Mul', [swapped, sine]),
    ]);
  };
  return { turn, maskOf };
}
