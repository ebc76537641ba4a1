// Writes a GPT-2 as an ONNX model of standard operators: input_ids (B, T) int64 -> logits (B, T,
// V). On request with a cache, as programs that generate text ask for it: past_key_values.N.key and
// .value (B, H, P, D) of P earlier positions in, present.N.key and .value (B, H, P + T, D) out. The
// file comes in pieces, one a parameter, because protobuf's own writer would hold all of them
// twice.
//
// In f16, weights and matrix products are f16. The residual stream, LayerNorm and the softmax are
// f32: that is where rounding adds up over layers, and where sums run over many values.

import type { onnx as Onnx } from 'onnx-proto';
import onnxProto from 'onnx-proto';
import { encodeValues, lengthOf, type Piece } from '../../files/pieces';
import { type Gpt2Config, headName, parametersOf } from './config';

const { onnx } = onnxProto;

/** The first opset with Gelu. */
const OPSET = 20;
const IR_VERSION = 9;
const TYPE = { f32: 1, i64: 7, f16: 10 } as const;
const ATTRIBUTE = { float: 1, int: 2, string: 3, ints: 7 } as const;
/**
 * Added to a score that may not be seen; its exponential is 0. Finite: shaders may assume that
 * nothing is infinite.
 */
const MASKED = -1e30;

type Attributes = Record<string, number | string | number[]>;

/** The graph as it grows. Values are names; a node's output is named after the node. */
class Graph {
  readonly nodes: Onnx.INodeProto[] = [];
  readonly constants: { tensor: Onnx.ITensorProto; content: Piece }[] = [];

  constant(
    name: string,
    type: keyof typeof TYPE,
    dims: number[],
    content: number[] | Piece,
  ): string {
    const bytes = Array.isArray(content) ? encode(name, type, content) : content;
    this.constants.push({
      tensor: { name, dataType: TYPE[type], dims },
      content: bytes,
    });
    return name;
  }

  /** Adds a node and returns the name of its (first) output. */
  add(
    name: string,
    opType: string,
    input: string[],
    attributes: Attributes = {},
    output = [name],
  ): string {
    const attribute = Object.entries(attributes).map(([key, value]): Onnx.IAttributeProto => {
      if (typeof value === 'string')
        return { name: key, type: ATTRIBUTE.string, s: new TextEncoder().encode(value) };
      if (Array.isArray(value)) return { name: key, type: ATTRIBUTE.ints, ints: value };
      // The one fractional attribute that we write; 1 stays an integer.
      if (key === 'epsilon') return { name: key, type: ATTRIBUTE.float, f: value };
      return { name: key, type: ATTRIBUTE.int, i: value };
    });
    this.nodes.push({ name, opType, input, output, attribute });
    return output[0];
  }
}

function encode(name: string, type: keyof typeof TYPE, values: number[]): Uint8Array<ArrayBuffer> {
  if (type === 'i64') return new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  return encodeValues(name, type, Float32Array.from(values));
}

/**
 * model.onnx (`f32`) or model_fp16.onnx (`f16`); a tied head is stored once.
 * @param cached whether the graph also takes and returns the keys and values of earlier tokens
 */
export function onnxPieces(config: Gpt2Config, dtype: 'f32' | 'f16', cached: boolean): Piece[] {
  const { vocab_size: V, n_positions, n_embd: C, n_layer, n_head: H } = config;
  const graph = new Graph();
  for (const { name, shape, role } of parametersOf(config)) {
    // Parameters that meet f32 values stay f32: LayerNorm's, and biases of projections onto the
    // residual stream.
    const inF32 = role === 'norm' || name.endsWith('.c_proj.bias');
    const type = inF32 ? 'f32' : dtype;
    const scaled = (values: Float32Array) =>
      name.includes('.c_attn.') ? scaleQueries(values, C, 1 / Math.sqrt(C / H)) : values;
    const byteLength = shape.reduce((product, extent) => product * extent, type === 'f16' ? 2 : 4);
    const encode = (values: Float32Array) => encodeValues(name, type, scaled(values));
    graph.constant(name, type, shape, { parameter: name, shape, byteLength, encode });
  }

  const cast = (value: string, to: 'f32' | 'f16') =>
    dtype === 'f32' ? value : graph.add(`${value}.${to}`, 'Cast', [value], { to: TYPE[to] });
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
  // As floats, which onnxruntime slices on the GPU; integers go round by the CPU.
  const indices = Array.from({ length: n_positions }, (_, i) => i);
  const columns = graph.constant('columns', 'f32', [1, n_positions], indices);
  const rows = graph.constant('rows', 'f32', [n_positions, 1], indices);
  // P and P + T: the tokens' own positions begin after the earlier ones.
  const past = (layer: number, part: 'key' | 'value') => `past_key_values.${layer}.${part}`;
  const present = (layer: number, part: 'key' | 'value') => `present.${layer}.${part}`;
  const begin = cached
    ? graph.add('past_length', 'Shape', [past(0, 'key')], { start: 2, end: 3 })
    : zero;
  const end = cached ? graph.add('total_length', 'Add', [begin, length]) : length;
  const visible = graph.add('visible', 'LessOrEqual', [
    graph.add('key_positions', 'Slice', [columns, zero, end, one]), // (1, P + T)
    graph.add('query_positions', 'Slice', [rows, begin, end, zero]), // (T, 1)
  ]);
  const mask = graph.add('mask', 'Where', [
    visible, // (T, P + T)
    graph.constant('seen', 'f32', [], [0]),
    graph.constant('unseen', 'f32', [], [MASKED]),
  ]);
  const splitHeads = graph.constant('split_heads', 'i64', [4], [0, 0, H, C / H]);
  const mergeHeads = graph.constant('merge_heads', 'i64', [3], [0, 0, C]);

  const tokens = cast(graph.add('token_embedding', 'Gather', ['wte.weight', 'input_ids']), 'f32');
  const positions = graph.add('position_embedding', 'Slice', [
    cast('wpe.weight', 'f32'),
    begin,
    end,
    zero,
  ]);
  let h = graph.add('embedding', 'Add', [tokens, positions]); // (B, T, C) f32

  for (let layer = 0; layer < n_layer; layer++) {
    const at = (part: string) => `h.${layer}.${part}`;
    const qkv = linear(norm(h, at('ln_1')), at('attn.c_attn')); // (B, T, 3 C)
    const parts = [at('q'), at('k'), at('v')];
    graph.add(at('split'), 'Split', [qkv], { axis: 2, num_outputs: 3 }, parts);
    const byHead = { perm: [0, 2, 1, 3] };
    const [q, ...own] = parts.map((part) => {
      const heads = graph.add(`${part}.heads`, 'Reshape', [part, splitHeads]);
      return graph.add(`${part}.by_head`, 'Transpose', [heads], byHead); // (B, H, T, D)
    });
    const [k, v] = own.map((now, i) => {
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
  // A runtime folds this transpose of a constant when it loads the model; the file holds the matrix
  // once.
  const head = graph.add('head', 'Transpose', [headName(config)], { perm: [1, 0] });
  graph.add('logits', 'MatMul', [norm(h, 'ln_f'), head]);

  const tensor = (
    name: string,
    elemType: number,
    dims: (string | number)[],
  ): Onnx.IValueInfoProto => ({
    name,
    type: {
      tensorType: {
        elemType,
        shape: {
          dim: dims.map((dim) => (typeof dim === 'string' ? { dimParam: dim } : { dimValue: dim })),
        },
      },
    },
  });
  // Protobuf's fields may come in any order, and a message's may be cut anywhere between two of
  // them.
  const kept = (name: typeof past, positions: string) =>
    Array.from({ length: cached ? n_layer : 0 }, (_, layer) =>
      (['key', 'value'] as const).map((part) =>
        tensor(name(layer, part), TYPE[dtype], ['batch', H, positions, C / H]),
      ),
    ).flat();
  const nodes = onnx.GraphProto.encode({
    name: 'gpt2',
    node: graph.nodes,
    input: [tensor('input_ids', TYPE.i64, ['batch', 'sequence']), ...kept(past, 'past')],
    output: [
      tensor('logits', TYPE[dtype], ['batch', 'sequence', V]),
      ...kept(present, 'past + sequence'),
    ],
  }).finish();
  const inGraph = [
    Uint8Array.from(nodes),
    ...graph.constants.flatMap(({ tensor, content }) => {
      const raw = [
        Uint8Array.from(onnx.TensorProto.encode(tensor).finish()),
        ...field(FIELD.rawData, [content]),
      ];
      return field(FIELD.initializer, raw);
    }),
  ];
  const opsetImport = [{ domain: '', version: OPSET }];
  const modelHead = onnx.ModelProto.encode({
    irVersion: IR_VERSION,
    producerName: 'Stillhouse',
    opsetImport,
  }).finish();
  return [Uint8Array.from(modelHead), ...field(FIELD.graph, inGraph)];
}

/** Numbers of the fields that are written here, in ModelProto, GraphProto and TensorProto. */
const FIELD = { graph: 7, initializer: 5, rawData: 9 };

/** A protobuf field of bytes or of a message: its number, its length, what is in it. */
function field(number: number, content: Piece[]): Piece[] {
  const LENGTH_DELIMITED = 2;
  const head = [(number << 3) | LENGTH_DELIMITED];
  let length = lengthOf(content);
  // Seven bits a byte, the lowest first; the eighth says that more follow. Not by shifts: they end
  // at 31 bits.
  for (; length >= 128; length = Math.floor(length / 128)) head.push((length % 128) | 128);
  head.push(length);
  return [Uint8Array.from(head), ...content];
}

/**
 * Attention divides q·k by √(head size); here q's columns of c_attn, the first C of 3 C, are scaled
 * in advance.
 */
function scaleQueries(values: Float32Array, C: number, factor: number): Float32Array {
  return values.map((value, i) => (i % (3 * C) < C ? value * factor : value));
}
