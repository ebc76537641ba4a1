// An ONNX model as it is built: nodes and constants, then the file's pieces. Each parameter is a
// piece, because protobuf's own writer would hold all weights twice.

import type { onnx as Onnx } from 'onnx-proto';
import onnxProto from 'onnx-proto';
import { encodeValues, lengthOf, type Piece } from '../files/pieces';

const { onnx } = onnxProto;

/** The first opset with Gelu. */
const OPSET = 20;
const IR_VERSION = 9;
const ATTRIBUTE = { float: 1, int: 2, string: 3, ints: 7 } as const;
/** The producer's name in the files that we write. */
export const PRODUCER = 'Stillhouse';
/** A Protobuf message has at most so many bytes. */
export const LONGEST_ONNX = 2 ** 31 - 1;
/** Numbers of the protobuf fields that are written here, in ModelProto, GraphProto, TensorProto. */
const FIELD = { graph: 7, initializer: 5, rawData: 9 };

/** ONNX's numbers of the types that we write or cast to. */
export const ONNX_TYPE = { f32: 1, i64: 7, bool: 9, f16: 10 } as const;
type OnnxType = Exclude<keyof typeof ONNX_TYPE, 'bool'>;

type Attributes = Record<string, number | string | number[]>;

/** An input or output: its name, its type, and its sizes, of which the named ones may vary. */
export type GraphValue = [name: string, type: OnnxType, sizes: (string | number)[]];

/** Values are names; a node's output is named after the node. */
export class OnnxGraph {
  readonly #nodes: Onnx.INodeProto[] = [];
  readonly #constants: { tensor: Onnx.ITensorProto; content: Piece }[] = [];

  /** Adds a constant and returns its name. */
  constant(name: string, type: OnnxType, dims: number[], content: number[] | Piece): string {
    const piece = Array.isArray(content) ? encode(name, type, content) : content;
    this.#constants.push({ tensor: { name, dataType: ONNX_TYPE[type], dims }, content: piece });
    return name;
  }

  /** Adds a parameter as a constant. `change` is applied to its values before they are written. */
  parameter(
    { name, shape }: { name: string; shape: number[] },
    type: 'f16' | 'f32',
    change = (values: Float32Array) => values,
  ): string {
    const byteLength = shape.reduce((product, extent) => product * extent, type === 'f16' ? 2 : 4);
    const encode = (values: Float32Array) => encodeValues(name, type, change(values));
    return this.constant(name, type, shape, { parameter: name, shape, byteLength, encode });
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
    this.#nodes.push({ name, opType, input, output, attribute });
    return output[0];
  }

  /** The file. */
  pieces(name: string, inputs: GraphValue[], outputs: GraphValue[]): Piece[] {
    // Protobuf's fields may come in any order, and a message may be cut between any two of them.
    const nodes = onnx.GraphProto.encode({
      name,
      node: this.#nodes,
      input: inputs.map(valueInfo),
      output: outputs.map(valueInfo),
    }).finish();
    const graph = [
      Uint8Array.from(nodes),
      ...this.#constants.flatMap(({ tensor, content }) => {
        const raw = [
          Uint8Array.from(onnx.TensorProto.encode(tensor).finish()),
          ...field(FIELD.rawData, [content]),
        ];
        return field(FIELD.initializer, raw);
      }),
    ];
    const modelHead = onnx.ModelProto.encode({
      irVersion: IR_VERSION,
      producerName: PRODUCER,
      opsetImport: [{ domain: '', version: OPSET }],
    }).finish();
    return [Uint8Array.from(modelHead), ...field(FIELD.graph, graph)];
  }
}

/**
 * Added to the score of a position that a query does not see, so that its exponential is 0. Finite,
 * because shaders may assume that nothing is infinite.
 */
export const MASKED = -1e30;

/** The keys or values of earlier tokens, and those of all tokens so far. */
export const past = (layer: number, part: 'key' | 'value') => `past_key_values.${layer}.${part}`;
export const present = (layer: number, part: 'key' | 'value') => `present.${layer}.${part}`;

/** What a mask adds to the score of a position that a query sees, and of one that it does not. */
export interface MaskTerms {
  seen: string;
  unseen: string;
}

/**
 * What the mask of `attention_mask` (B, P + T), 0 for padding, adds to each query's scores:
 * (B, 1, 1, P + T).
 */
export function addPaddingMask(graph: OnnxGraph, { seen, unseen }: MaskTerms): string {
  const axes = graph.constant('head_and_query_axes', 'i64', [2], [1, 2]);
  const kept = graph.add('kept', 'Cast', ['attention_mask'], { to: ONNX_TYPE.bool });
  const byQuery = graph.add('kept.by_query', 'Unsqueeze', [kept, axes]);
  return graph.add('padding_mask', 'Where', [byQuery, seen, unseen]);
}

/** Beside input_ids, the inputs of a graph that takes earlier tokens. */
export const BESIDE_TOKENS: readonly GraphValue[] = [
  ['attention_mask', 'i64', ['batch', 'past + sequence']],
  ['position_ids', 'i64', ['batch', 'sequence']],
];

function encode(name: string, type: OnnxType, values: number[]): Uint8Array<ArrayBuffer> {
  if (type === 'i64') return new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  return encodeValues(name, type, Float32Array.from(values));
}

function valueInfo([name, type, sizes]: GraphValue): Onnx.IValueInfoProto {
  const dim = sizes.map((size) =>
    typeof size === 'string' ? { dimParam: size } : { dimValue: size },
  );
  return { name, type: { tensorType: { elemType: ONNX_TYPE[type], shape: { dim } } } };
}

/** A protobuf field of bytes or of a message: its number, its length, its content. */
function field(number: number, content: Piece[]): Piece[] {
  const LENGTH_DELIMITED = 2;
  const head = [(number << 3) | LENGTH_DELIMITED];
  let length = lengthOf(content);
  // Seven bits a byte, the lowest first; the eighth says that more follow. Division, because shifts
  // end at 31 bits.
  for (; length >= 128; length = Math.floor(length / 128)) head.push((length % 128) | 128);
  head.push(length);
  return [Uint8Array.from(head), ...content];
}
