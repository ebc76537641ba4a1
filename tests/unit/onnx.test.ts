// The ONNX file as a protobuf: interface, constants, refusals. gpu/teacher-onnx.test.ts proves that
// it computes a GPT-2.

import onnxProto from 'onnx-proto';
import { expect, test } from 'vitest';
import { joinPieces } from '../../src/files/pieces';
import { type Gpt2Config, parametersOf } from '../../src/model/gpt2/config';
import { onnxPieces } from '../../src/model/gpt2/onnx';

const config: Gpt2Config = {
  vocab_size: 11,
  n_positions: 6,
  n_embd: 8,
  n_layer: 2,
  n_head: 2,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
};
const shapes = parametersOf(config);

const exportOnnx = (
  config: Gpt2Config,
  weights: ReadonlyMap<string, Float32Array>,
  dtype: 'f32' | 'f16',
) => joinPieces(onnxPieces(config, dtype, false), weights);
const size = (shape: number[]) => shape.reduce((product, extent) => product * extent, 1);
const weights = () =>
  new Map(shapes.map(({ name, shape }) => [name, new Float32Array(size(shape)).fill(0.5)]));
const { FLOAT, FLOAT16, INT64 } = onnxProto.onnx.TensorProto.DataType;
const graphOf = (dtype: 'f32' | 'f16') =>
  onnxProto.onnx.ModelProto.decode(exportOnnx(config, weights(), dtype)).graph!;

test('the graph maps token ids of any batch and length to logits', () => {
  for (const [dtype, type] of [
    ['f32', FLOAT],
    ['f16', FLOAT16],
  ] as const) {
    const { input, output } = graphOf(dtype);
    const interfaceOf = ({ name, type }: onnxProto.onnx.IValueInfoProto) => {
      const { elemType, shape } = type!.tensorType!;
      return [
        name,
        elemType,
        ...shape!.dim!.map(({ dimParam, dimValue }) => dimParam || Number(dimValue)),
      ];
    };
    expect(input!.map(interfaceOf)).toEqual([['input_ids', INT64, 'batch', 'sequence']]);
    expect(output!.map(interfaceOf)).toEqual([['logits', type, 'batch', 'sequence', 11]]);
  }
});

test('every parameter is stored once, matrices in the file’s type', () => {
  for (const [dtype, type, bytes] of [
    ['f32', FLOAT, 4],
    ['f16', FLOAT16, 2],
  ] as const) {
    const { initializer } = graphOf(dtype);
    for (const { name, shape } of shapes) {
      const tensors = initializer!.filter((tensor) => tensor.name === name);
      expect(tensors.map(({ dims }) => dims!.map(Number))).toEqual([shape]);
      if (shape.length < 2) continue;
      expect(tensors[0].dataType).toBe(type);
      expect(tensors[0].rawData!.length).toBe(size(shape) * bytes);
    }
  }
  // Matrices take half the bytes.
  expect(exportOnnx(config, weights(), 'f16').length).toBeLessThan(
    exportOnnx(config, weights(), 'f32').length,
  );
});

test('operators are standard, and read constants, the model’s input and earlier outputs', () => {
  for (const dtype of ['f32', 'f16'] as const) {
    const { node, initializer, input } = graphOf(dtype);
    const known = new Set([...initializer!, ...input!].map(({ name }) => name!));
    for (const { domain, input: inputs, output } of node!) {
      expect(domain).toBe('');
      for (const name of inputs!) expect(known).toContain(name);
      for (const name of output!) {
        expect(known).not.toContain(name);
        known.add(name);
      }
    }
    expect(known).toContain('logits');
  }
});

test('in f16, LayerNorm and softmax read float32', () => {
  const { node } = graphOf('f16');
  const writer = (name: string) => node!.find(({ output }) => output!.includes(name))!;
  // The operators that made the terms of a sum: a float32 cast, not a product.
  const origins = (name: string): string[] => {
    const origin = node!.find(({ output }) => output!.includes(name));
    if (origin?.opType !== 'Add') return origin ? [origin.opType!] : [];
    return origin.input!.flatMap(origins);
  };
  for (const { opType, input } of node!.filter(
    ({ opType }) => opType === 'LayerNormalization' || opType === 'Softmax',
  )) {
    expect([opType, writer(input![0]).opType]).toEqual([opType, 'Add']);
    expect(origins(input![0])).toContain('Cast');
    expect(origins(input![0])).not.toContain('MatMul');
  }
});

test('weights that cannot be written are refused by name', () => {
  const exporting =
    (change: (weights: Map<string, Float32Array>) => void, dtype: 'f32' | 'f16' = 'f16') =>
    () => {
      const changed: Map<string, Float32Array> = weights();
      change(changed);
      return exportOnnx(config, changed, dtype);
    };
  expect(exporting((all) => all.delete('ln_f.bias'))).toThrow(
    'ln_f.bias has no values; shape [8] needs 8',
  );
  expect(exporting((all) => all.set('wpe.weight', new Float32Array(5)))).toThrow(
    'wpe.weight has 5 values; shape [6, 8] needs 48',
  );
  expect(exporting((all) => (all.get('wte.weight')![3] = NaN), 'f32')).toThrow(
    'wte.weight holds NaN at element 3',
  );
  expect(exporting((all) => (all.get('wte.weight')![3] = 65519))).not.toThrow();
  expect(exporting((all) => (all.get('wte.weight')![3] = -65520))).toThrow(
    'wte.weight holds -65520 at element 3. Export in f32',
  );
});

test('an untied head is stored beside the embedding, and the logits use it', () => {
  const untied = { ...config, tie_word_embeddings: false };
  const all = new Map(weights()).set(
    'lm_head.weight',
    new Float32Array(config.vocab_size * config.n_embd).fill(2),
  );
  const { node, initializer } = onnxProto.onnx.ModelProto.decode(exportOnnx(untied, all, 'f32'))
    .graph!;
  expect(initializer!.filter(({ name }) => name === 'lm_head.weight')).toHaveLength(1);
  expect(node!.find(({ name }) => name === 'head')!.input).toEqual(['lm_head.weight']);
});
