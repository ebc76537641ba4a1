// A GPT-2 as an ONNX graph of standard operators: input_ids (B, T) int64 -> logits (B, T, V). With
// `cached`, for programs that generate text, the inputs are those of transformers.js's own
// conversions: attention_mask (B, P + T), which is 0 for padding, position_ids (B, T), and
// past_key_values.N.key and .value (B, H, P, D) of P earlier tokens; present.N.key and .value
// (B, H, P + T, D) are outputs.
//
// In f16, weights and matrix products are f16. The residual stream, LayerNorm and the softmax are
// f32: rounding accumulates over layers in the first, and the others sum over many values.

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
import { type Gpt2Config, headName, parametersOf } from './config';

/**
 * model.onnx (`f32`) or model_fp16.onnx (`f16`); a tied head is stored once.
 * @param cached whether the graph also takes and returns the keys and values of earlier tokens
 */
export function onnxPieces(config: Gpt2Config, dtype: 'f32' | 'f16', cached: boolean): Piece[] {
  const { vocab_size: V, n_positions, n_embd: C, n_layer, n_head: H } = config;
  const graph = new OnnxGraph();
  for (const parameter of parametersOf(config)) {
    const { name, role } = parameter;
    // Parameters that meet f32 values stay f32: LayerNorm's, and biases of projections onto the
    // residual stream.
    const inF32 = role === 'norm' || name.endsWith('.c_proj.bias');
    graph.parameter(parameter, inF32 ? 'f32' : dtype, (values) =>
      name.includes('.c_attn.') ? scaleQueries(values, C, 1 / Math.sqrt(C / H)) : values,
    );
  }

  const cast = (value: string, to: 'f32' | 'f16') =>
    dtype === 'f32' ? value : graph.add(`${value}.${to}`, 'Cast', [value], { to: ONNX_TYPE[to] });
  const norm = (h: string, name: string) => {
    const input = [h, `${name}.weight`, `${name}.bias`];
    return cast(
      graph.add(name, 'LayerNormalization', input, {
        axis: -1,
        epsilon: config.layer_norm_epsilon,
      }),
      dtype,
    );
  };
  /** h + x @ weight + bias; h (B, T, C) f32, x in the model's dtype. */
  const projectOnto = (h: string, x: string, name: string) => {
    const product = cast(graph.add(`${name}.product`, 'MatMul', [x, `${name}.weight`]), 'f32');
    const biased = graph.add(name, 'Add', [product, `${name}.bias`]);
    return graph.add(`${name}.residual`, 'Add', [h, biased]);
  };
  const linear = (x: string, name: string) =>
    graph.add(name, 'Add', [
      graph.add(`${name}.product`, 'MatMul', [x, `${name}.weight`]),
      `${name}.bias`,
    ]);

  // T, as the one-element tensor that Slice takes.
  const length = graph.add('length', 'Shape', ['input_ids'], { start: 1, end: 2 });
  const [zero, one] = [
    graph.constant('zero', 'i64', [1], [0]),
    graph.constant('one', 'i64', [1], [1]),
  ];
  // Floats, because onnxruntime slices them on the GPU, and integers on the CPU.
  const indices = Array.from({ length: n_positions }, (_, i) => i);
  const columns = graph.constant('columns', 'f32', [1, n_positions], indices);
  const rows = graph.constant('rows', 'f32', [n_positions, 1], indices);
  // From P to P + T: the tokens come after the earlier ones.
  const begin = cached
    ? graph.add('past_length', 'Shape', [past(0, 'key')], { start: 2, end: 3 })
    : zero;
  const end = cached ? graph.add('total_length', 'Add', [begin, length]) : length;
  const visible = graph.add('visible', 'LessOrEqual', [
    graph.add('key_positions', 'Slice', [columns, zero, end, one]), // (1, P + T)
    graph.add('query_positions', 'Slice', [rows, begin, end, zero]), // (T, 1)
  ]);
  const [seen, unseen] = [
    graph.constant('seen', 'f32', [], [0]),
    graph.constant('unseen', 'f32', [], [MASKED]),
  ];
  const causal = graph.add('mask', 'Where', [visible, seen, unseen]); // (T, P + T)
  const mask = cached
    ? graph.add('mask.padded', 'Add', [causal, addPaddingMask(graph, { seen, unseen })])
    : causal;
  const splitHeads = graph.constant('split_heads', 'i64', [4], [0, 0, H, C / H]);
  const mergeHeads = graph.constant('merge_heads', 'i64', [3], [0, 0, C]);

  const tokens = cast(graph.add('token_embedding', 'Gather', ['wte.weight', 'input_ids']), 'f32');
  const positions = cached
    ? cast(graph.add('position_embedding', 'Gather', ['wpe.weight', 'position_ids']), 'f32')
    : graph.add('position_embedding', 'Slice', [cast('wpe.weight', 'f32'), begin, end, zero]);
  let h = graph.add('embedding', 'Add', [tokens, positions]); // (B, T, C) f32

  for (let layer = 0; layer < n_layer; layer++) {
    const at = (part: string) => `h.${layer}.${part}`;
    const qkv = linear(norm(h, at('ln_1')), at('attn.c_attn')); // (B, T, 3 C)
    const projections = [at('q'), at('k'), at('v')];
    graph.add(at('split'), 'Split', [qkv], { axis: 2, num_outputs: 3 }, projections);
    const byHead = { perm: [0, 2, 1, 3] };
    const [q, ...keyAndValue] = projections.map((name) => {
      const heads = graph.add(`${name}.heads`, 'Reshape', [name, splitHeads]);
      return graph.add(`${name}.by_head`, 'Transpose', [heads], byHead); // (B, H, T, D)
    });
    const [k, v] = keyAndValue.map((now, i) => {
      const which = i === 0 ? 'key' : 'value';
      return cached
        ? graph.add(present(layer, which), 'Concat', [past(layer, which), now], { axis: 2 })
        : now;
    });
    const kT = graph.add(at('k.transposed'), 'Transpose', [k], { perm: [0, 1, 3, 2] });
    const scores = cast(graph.add(at('scores'), 'MatMul', [q, kT]), 'f32'); // (B, H, T, P + T)
    const masked = graph.add(at('masked'), 'Add', [scores, mask]);
    const attention = cast(graph.add(at('attention'), 'Softmax', [masked], { axis: -1 }), dtype);
    const mixed = graph.add(at('mixed'), 'MatMul', [attention, v]); // (B, H, T, C / H)
    const merged = graph.add(at('merged'), 'Reshape', [
      graph.add(at('by_position'), 'Transpose', [mixed], byHead),
      mergeHeads,
    ]);
    h = projectOnto(h, merged, at('attn.c_proj'));
    const wide = linear(norm(h, at('ln_2')), at('mlp.c_fc')); // (B, T, 4 C)
    h = projectOnto(
      h,
      graph.add(at('mlp.gelu'), 'Gelu', [wide], { approximate: 'tanh' }),
      at('mlp.c_proj'),
    );
  }
  // A runtime folds this transpose of a constant when it loads the model, and the file holds the
  // matrix once.
  const head = graph.add('head', 'Transpose', [headName(config)], { perm: [1, 0] });
  graph.add('logits', 'MatMul', [norm(h, 'ln_f'), head]);

  const earlier = (name: typeof past, positions: string) =>
    Array.from({ length: cached ? n_layer : 0 }, (_, layer) =>
      (['key', 'value'] as const).map(
        (part): GraphValue => [name(layer, part), dtype, ['batch', H, positions, C / H]],
      ),
    ).flat();
  return graph.pieces(
    'gpt2',
    [
      ['input_ids', 'i64', ['batch', 'sequence']],
      ...(cached ? BESIDE_TOKENS : []),
      ...earlier(past, 'past'),
    ],
    [['logits', dtype, ['batch', 'sequence', V]], ...earlier(present, 'past + sequence')],
  );
}

/**
 * Attention divides q·k by √(head size). The graph has no such division: the columns of c_attn that
 * make q, the first C of 3 C, are scaled instead.
 */
function scaleQueries(values: Float32Array, C: number, factor: number): Float32Array {
  return values.map((value, i) => (i % (3 * C) < C ? value * factor : value));
}
