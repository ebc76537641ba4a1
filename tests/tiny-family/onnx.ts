// The tiny family's ONNX graph. Everything but matrix products is f32.

import type { Piece } from '../../src/files/pieces';
import { type GraphValue, ONNX_TYPE, OnnxGraph } from '../../src/model/onnx-graph';
import type { Parameter } from '../../src/model/parameters';
import type { TinyConfig } from './config';

export function onnxPieces(
  config: TinyConfig,
  parameters: readonly Parameter[],
  dtype: 'f32' | 'f16',
  cached: boolean,
): Piece[] {
  const { hidden_size: C, num_attention_heads: H, max_position_embeddings: P } = config;
  const graph = new OnnxGraph();
  for (const parameter of parameters)
    graph.parameter(parameter, parameter.role === 'norm' ? 'f32' : dtype);
  const [epsilon, scale, masked, zeroScore] = [
    graph.constant('epsilon', 'f32', [], [config.rms_norm_eps]),
    graph.constant('scale', 'f32', [], [Math.sqrt(H / C)]),
    graph.constant('masked', 'f32', [], [-1e30]),
    graph.constant('zero_score', 'f32', [], [0]),
  ];
  const last = graph.constant('last_axis', 'i64', [1], [-1]);
  const [zero, one] = [0, 1].map((n) => graph.constant(`n${n}`, 'i64', [1], [n]));
  const indices = Array.from({ length: P }, (_, i) => i);
  const keys = graph.constant('keys', 'f32', [1, P], indices);
  const queries = graph.constant('queries', 'f32', [P, 1], indices);
  const splitHeads = graph.constant('split_heads', 'i64', [4], [0, 0, H, C / H]);
  const mergeHeads = graph.constant('merge_heads', 'i64', [3], [0, 0, C]);

  const cast = (value: string, to: 'f32' | 'f16') =>
    dtype === 'f32' ? value : graph.add(`${value}.${to}`, 'Cast', [value], { to: ONNX_TYPE[to] });
  const product = (x: string, w: string, name: string) =>
    cast(graph.add(name, 'MatMul', [cast(x, dtype), w]), 'f32');
  const norm = (x: string, name: string) => {
    const squares = graph.add(`${name}.squares`, 'Mul', [x, x]);
    const mean = graph.add(`${name}.mean`, 'ReduceMean', [squares, last], { keepdims: 1 });
    const rms = graph.add(`${name}.rms`, 'Sqrt', [
      graph.add(`${name}.stable`, 'Add', [mean, epsilon]),
    ]);
    return graph.add(name, 'Mul', [graph.add(`${name}.unit`, 'Div', [x, rms]), `${name}.weight`]);
  };

  const past = (layer: number, part: string) => `past_key_values.${layer}.${part}`;
  const present = (layer: number, part: string) => `present.${layer}.${part}`;
  const length = graph.add('length', 'Shape', ['input_ids'], { start: 1, end: 2 });
  const begin = cached
    ? graph.add('past_length', 'Shape', [past(0, 'key')], { start: 2, end: 3 })
    : zero;
  const end = graph.add('end', 'Add', [begin, length]);
  const visible = graph.add('visible', 'LessOrEqual', [
    graph.add('key_positions', 'Slice', [keys, zero, end, one]),
    graph.add('query_positions', 'Slice', [queries, begin, end, zero]),
  ]);
  const mask = graph.add('mask', 'Where', [visible, zeroScore, masked]);

  let x = cast(graph.add('embedding', 'Gather', ['embed.weight', 'input_ids']), 'f32');
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const at = (name: string) => `layers.${layer}.${name}`;
    const qkv = product(norm(x, at('norm_1')), at('attention.qkv.weight'), at('qkv'));
    const parts = ['q', 'key', 'value'].map(at);
    graph.add(at('split'), 'Split', [qkv], { axis: 2, num_outputs: 3 }, parts);
    const [q, k, v] = ['q', 'key', 'value'].map((part) => {
      const heads = graph.add(at(`${part}.heads`), 'Reshape', [at(part), splitHeads]);
      const byHead = graph.add(at(`${part}.by_head`), 'Transpose', [heads], { perm: [0, 2, 1, 3] });
      if (!cached || part === 'q') return byHead;
      const all = [past(layer, part), cast(byHead, dtype)];
      return cast(graph.add(present(layer, part), 'Concat', all, { axis: 2 }), 'f32');
    });
    const kT = graph.add(at('kT'), 'Transpose', [k], { perm: [0, 1, 3, 2] });
    const scaled = graph.add(at('scaled'), 'Mul', [
      graph.add(at('scores'), 'MatMul', [q, kT]),
      scale,
    ]);
    const p = graph.add(at('p'), 'Softmax', [graph.add(at('masked'), 'Add', [scaled, mask])], {
      axis: -1,
    });
    const mixed = graph.add(at('mixed'), 'MatMul', [p, v]);
    const byToken = graph.add(at('by_token'), 'Transpose', [mixed], { perm: [0, 2, 1, 3] });
    const merged = graph.add(at('merged'), 'Reshape', [byToken, mergeHeads]);
    const attended = product(merged, at('attention.out.weight'), at('attended'));
    const middle = graph.add(at('middle'), 'Add', [x, attended]);
    const up = product(norm(middle, at('norm_2')), at('mlp.up.weight'), at('up'));
    const active = graph.add(at('gelu'), 'Gelu', [up], { approximate: 'tanh' });
    const down = product(active, at('mlp.down.weight'), at('down'));
    x = graph.add(at('output'), 'Add', [middle, down]);
  }
  const head = graph.add('head', 'Transpose', ['lm_head.weight'], { perm: [1, 0] });
  graph.add('logits', 'MatMul', [cast(norm(x, 'norm'), dtype), head]);

  const earlier = (name: typeof past, positions: string) =>
    Array.from({ length: cached ? config.num_hidden_layers : 0 }, (_, layer) =>
      ['key', 'value'].map(
        (part): GraphValue => [name(layer, part), dtype, ['batch', H, positions, C / H]],
      ),
    ).flat();
  return graph.pieces(
    'tiny',
    [['input_ids', 'i64', ['batch', 'sequence']], ...earlier(past, 'past')],
    [
      ['logits', dtype, ['batch', 'sequence', config.vocab_size]],
      ...earlier(present, 'past + sequence'),
    ],
  );
}
