// ONNX files in which one product's weights are rounded, in the operators that conversions on the
// hub have: MatMulNBits for 4 bits (model_q4.onnx), MatMulInteger for 8 (model_quantized.onnx).

import type { onnx as Onnx } from 'onnx-proto';
import onnxProto from 'onnx-proto';
import { fromHalf, toHalf } from '../src/tensor/dtype';

const { onnx } = onnxProto;
const { FLOAT, UINT8, INT8 } = onnx.TensorProto.DataType;
/** Weights that share a scale. */
const BLOCK = 32;
/** What 0 is stored as in 4 bits. */
const ZERO = 8;

const integer = (name: string, i: number): Onnx.IAttributeProto => ({
  name,
  i,
  type: onnx.AttributeProto.AttributeType.INT,
});

interface RoundedFiles {
  packed: Uint8Array<ArrayBuffer>;
  /** The file that it is made from, with the values that the packed ones stand for. */
  rounded: Uint8Array<ArrayBuffer>;
}

/**
 * @param product the MatMul's name; its second input is a constant (K, N), K a multiple of 32
 * @param dtype of the constant
 */
export function withRoundedProduct(
  file: Uint8Array,
  product: string,
  bits: 4 | 8,
  dtype: 'f32' | 'f16',
): RoundedFiles {
  const [packed, rounded] = [onnx.ModelProto.decode(file), onnx.ModelProto.decode(file)];
  const { node: nodes, initializer: constants } = packed.graph!;
  const node = nodes!.find((candidate) => candidate.name === product)!;
  const name = node.input![1];
  const find = ({ graph }: Onnx.ModelProto) =>
    graph!.initializer!.find((candidate) => candidate.name === name)!;
  const { dims } = find(packed);
  const [K, N] = dims!.map(Number);
  const raw = Uint8Array.from(find(packed).rawData!).buffer;
  const values = dtype === 'f16' ? fromHalf(new Uint16Array(raw)) : new Float32Array(raw);
  const store = (floats: Float32Array) =>
    new Uint8Array((dtype === 'f16' ? toHalf(floats) : floats).buffer as ArrayBuffer);
  const constant = (of: string, dataType: number, dims: number[], rawData: Uint8Array) => {
    constants!.push({ name: `${name}.${of}`, dataType, dims, rawData });
    return `${name}.${of}`;
  };
  /** Rounds rows `first` to `end` of column n to `-levels … levels`; returns their scale. */
  const round = (n: number, [first, end]: [number, number], levels: number, to: Int8Array) => {
    let largest = 0;
    for (let k = first; k < end; k++) largest = Math.max(largest, Math.abs(values[k * N + n]));
    const scale = fromHalf(toHalf(Float32Array.of(largest / levels)))[0] || 1;
    for (let k = first; k < end; k++) {
      to[k * N + n] = Math.max(-levels, Math.min(levels, Math.round(values[k * N + n] / scale)));
      values[k * N + n] = to[k * N + n] * scale;
    }
    return scale;
  };
  const levels = new Int8Array(K * N);
  if (bits === 4) {
    const blocks = K / BLOCK;
    const data = new Uint8Array((N * K) / 2);
    const scales = new Float32Array(N * blocks);
    for (let n = 0; n < N; n++) {
      for (let b = 0; b < blocks; b++)
        scales[n * blocks + b] = round(n, [b * BLOCK, (b + 1) * BLOCK], 7, levels);
      for (let k = 0; k < K; k++)
        data[(n * K + k) >> 1] |= (levels[k * N + n] + ZERO) << (k % 2 === 0 ? 0 : 4);
    }
    const type = dtype === 'f16' ? onnx.TensorProto.DataType.FLOAT16 : FLOAT;
    Object.assign(node, {
      opType: 'MatMulNBits',
      domain: 'com.microsoft',
      input: [
        node.input![0],
        constant('q4', UINT8, [N, blocks, BLOCK / 2], data),
        constant('scales', type, [N * blocks], store(scales)),
      ],
      attribute: [
        integer('K', K),
        integer('N', N),
        integer('bits', 4),
        integer('block_size', BLOCK),
      ],
    });
    packed.opsetImport!.push({ domain: 'com.microsoft', version: 1 });
  } else {
    // The inputs are rounded too, whenever it runs.
    const scales = Float32Array.from({ length: N }, (_, n) => round(n, [0, K], 127, levels));
    const [x, y] = [node.input![0], node.output![0]];
    const made = (opType: string, input: string[], output: string[]): Onnx.INodeProto => ({
      name: output[0],
      opType,
      input,
      output,
      attribute: opType === 'Cast' ? [integer('to', FLOAT)] : [],
    });
    const [q, scale, zero] = ['rounded', 'scale', 'zero'].map((part) => `${product}.${part}`);
    const weight = constant('q8', INT8, [K, N], new Uint8Array(levels.buffer));
    const perColumn = constant('scales', FLOAT, [N], new Uint8Array(scales.buffer));
    nodes!.splice(
      nodes!.indexOf(node),
      1,
      made('DynamicQuantizeLinear', [x], [q, scale, zero]),
      made('MatMulInteger', [q, weight, zero], [`${product}.integers`]),
      made('Cast', [`${product}.integers`], [`${product}.floats`]),
      made('Mul', [scale, perColumn], [`${product}.scales`]),
      made('Mul', [`${product}.floats`, `${product}.scales`], [y]),
    );
  }
  find(rounded).rawData = store(values);
  packed.graph!.initializer = constants!.filter((constant) => constant.name !== name);
  const encode = (model: Onnx.IModelProto) =>
    Uint8Array.from(onnx.ModelProto.encode(model).finish());
  return { packed: encode(packed), rounded: encode(rounded) };
}
