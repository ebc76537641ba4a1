// The exported ONNX graph in onnxruntime-web, on our own device, against PyTorch's logits.

import { readFileSync } from 'node:fs';
import onnxProto from 'onnx-proto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDawn } from '../../src/cli/dawn';
import { findOnnx } from '../../src/distill/teacher/onnx-file';
import { logitsOnCpu, OnnxModel } from '../../src/distill/teacher/onnx-model';
import { joinPieces } from '../../src/files/pieces';
import { readSafetensors, toFloat32 } from '../../src/files/safetensors';
import { filesSource } from '../../src/files/source';
import { parseConfig } from '../../src/model/families';
import { loadWeights } from '../../src/model/weights';
import { fromHalf } from '../../src/tensor/dtype';
import { withRoundedProduct } from '../onnx-rounded';

const goldens = (name: string) =>
  readFileSync(new URL(`../fixtures/goldens/${name}`, import.meta.url));

const sizes = JSON.parse(goldens('gpt2_run.json').toString());
const architecture = parseConfig({ model_type: 'gpt2', ...sizes.teacher });
const { batch: B, context: T } = sizes.hyper_parameters as { batch: number; context: number };
const V = architecture.vocabularySize;
const stored = readSafetensors(goldens('gpt2_teacher.safetensors'), 'gpt2_teacher.safetensors');
const weights = loadWeights(stored, architecture, 'gpt2_teacher.safetensors');

const exportOnnx = (type: 'f32' | 'f16') =>
  joinPieces(architecture.onnxPieces(type, false), weights);
const run = readSafetensors(goldens('gpt2_run.safetensors'), 'gpt2_run.safetensors');
const expected = toFloat32(run.get('teacher.logits')!); // (B, T, V)
// tokens are (steps, B, T + 1); the model reads the first T of each row.
const tokens = toFloat32(run.get('tokens')!);
const inputIds = Uint32Array.from(
  { length: B * T },
  (_, i) => tokens[Math.floor(i / T) * (T + 1) + (i % T)],
);

// The first run compiles every shader: half a minute on a software adapter.
const COMPILE = 240_000;

let device: GPUDevice;
let hasF16: boolean;
let teacher: OnnxModel;

beforeAll(async () => {
  device = await openDevice();
  hasF16 = device.features.has('shader-f16');
  teacher = await create('f32');
});
afterAll(async () => {
  await teacher?.dispose();
  device?.destroy();
});

async function openDevice(): Promise<GPUDevice> {
  const adapter = await (await openDawn()).requestAdapter();
  if (!adapter) throw new Error('no WebGPU adapter: set VK_ICD_FILENAMES to a Vulkan driver.');
  return adapter.requestDevice({
    requiredFeatures: adapter.features.has('shader-f16') ? ['shader-f16'] : [],
  });
}

function create(
  dtype: 'f32' | 'f16' | undefined,
  model = exportOnnx(dtype ?? 'f32'),
  sizes = architecture,
): Promise<OnnxModel> {
  return OnnxModel.create({ device, model, config: sizes, dtype, file: 'model.onnx' });
}

function buffer(
  size: number,
  usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
): GPUBuffer {
  return device.createBuffer({ size, usage });
}

/** The logits of `ids` (batch, length) as float32. Fails on any WebGPU validation error. */
async function logitsOf(
  model: OnnxModel,
  ids: Uint32Array,
  batch: number,
  length: number,
): Promise<Float32Array> {
  const count = batch * length * V;
  const size = Math.ceil((count * (model.dtype === 'f32' ? 4 : 2)) / 4) * 4;
  const output = buffer(size);
  const copy = buffer(size, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  device.pushErrorScope('validation');
  await model.run(ids, batch, length, output);
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(output, 0, copy, 0, size);
  device.queue.submit([encoder.finish()]);
  expect(await device.popErrorScope()).toBe(null);
  await copy.mapAsync(GPUMapMode.READ);
  const bytes = copy.getMappedRange().slice(0);
  for (const used of [output, copy]) used.destroy();
  return model.dtype === 'f32'
    ? new Float32Array(bytes)
    : fromHalf(new Uint16Array(bytes)).subarray(0, count);
}

function alteredModel(dtype: 'f32' | 'f16', change: (graph: onnxProto.onnx.IGraphProto) => void) {
  const decoded = onnxProto.onnx.ModelProto.decode(exportOnnx(dtype));
  change(decoded.graph!);
  return Uint8Array.from(onnxProto.onnx.ModelProto.encode(decoded).finish());
}

function castLogits({ node, output }: onnxProto.onnx.IGraphProto): void {
  node!.at(-1)!.output = ['half_logits'];
  const float32 = onnxProto.onnx.TensorProto.DataType.FLOAT;
  const to = { name: 'to', type: onnxProto.onnx.AttributeProto.AttributeType.INT, i: float32 };
  node!.push({
    name: 'cast',
    opType: 'Cast',
    input: ['half_logits'],
    output: ['logits'],
    attribute: [to],
  });
  output![0].type!.tensorType!.elemType = float32;
}

/**
 * The graph as decoders of the hub have it: positions and mask given, and layer 0's keys and values
 * after earlier ones.
 */
function asDecoder({ node, input }: onnxProto.onnx.IGraphProto): void {
  const { AttributeType } = onnxProto.onnx.AttributeProto;
  const { INT64, FLOAT } = onnxProto.onnx.TensorProto.DataType;
  const add = (
    at: string,
    opType: string,
    from: string[],
    output: string,
    attribute: onnxProto.onnx.IAttributeProto[] = [],
  ) =>
    node!.splice(
      node!.findIndex(({ output }) => output![0] === at),
      0,
      { name: output, opType, input: from, output: [output], attribute },
    );
  const int = (name: string, i: number) => ({ name, type: AttributeType.INT, i });
  const declare = (name: string, elemType: number, dims: (string | number)[]) =>
    input!.push({
      name,
      type: {
        tensorType: {
          elemType,
          shape: {
            dim: dims.map((dim) =>
              typeof dim === 'string' ? { dimParam: dim } : { dimValue: dim },
            ),
          },
        },
      },
    });
  const { heads: H } = architecture;
  const D = architecture.width / H;
  declare('attention_mask', INT64, ['batch', 'sequence']);
  declare('position_ids', INT64, ['batch', 'sequence']);
  for (const part of ['key', 'value'])
    declare(`past_key_values.0.${part}`, FLOAT, ['batch', H, 'past', D]);

  const positions = node!.find(({ output }) => output![0] === 'position_embedding')!;
  Object.assign(positions, { opType: 'Gather', input: ['wpe.weight', 'position_ids'] });
  // log(mask) is 0 for visible positions: (B, T), added to the scores as (B, 1, 1, T).
  const first = 'h.0.masked';
  add(first, 'Cast', ['attention_mask'], 'mask.float', [int('to', FLOAT)]);
  add(first, 'Log', ['mask.float'], 'mask.log');
  const axes = {
    name: 'mask.axes',
    dataType: INT64,
    dims: [2],
    rawData: new Uint8Array(BigInt64Array.of(1n, 2n).buffer),
  };
  add(first, 'Constant', [], 'mask.axes', [{ name: 'value', type: AttributeType.TENSOR, t: axes }]);
  add(first, 'Unsqueeze', ['mask.log', 'mask.axes'], 'mask.wide');
  add(first, 'Add', ['h.0.scores', 'mask.wide'], 'h.0.scores.seen');
  node!.find(({ output }) => output![0] === first)!.input![0] = 'h.0.scores.seen';
  add('h.0.scores', 'Transpose', ['past_key_values.0.key'], 'past.key', [
    { name: 'perm', type: AttributeType.INTS, ints: [0, 1, 3, 2] },
  ]);
  add('h.0.scores', 'Concat', ['past.key', 'h.0.k.transposed'], 'keys', [int('axis', 3)]);
  node!.find(({ output }) => output![0] === 'h.0.scores')!.input![1] = 'keys';
  add('h.0.mixed', 'Concat', ['past_key_values.0.value', 'h.0.v.by_head'], 'values', [
    int('axis', 2),
  ]);
  node!.find(({ output }) => output![0] === 'h.0.mixed')!.input![1] = 'values';
}

/** ‖a − b‖ / ‖b‖ */
function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    norm += b[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

test('f32 logits agree with PyTorch', { timeout: COMPILE }, async () => {
  expect(relativeError(await logitsOf(teacher, inputIds, B, T), expected)).toBeLessThan(1e-4);
});

test('f16 logits agree with PyTorch if the adapter has shader-f16; else the file is refused', {
  timeout: COMPILE,
}, async () => {
  if (!hasF16) {
    await expect(create('f16')).rejects.toThrow(
      'model.onnx computes in float16, and this device has no shader-f16',
    );
    // Some exports compute in float16 and cast the logits at the end, which only a run shows.
    const cast = await create('f32', alteredModel('f16', castLogits));
    await expect(logitsOf(cast, inputIds, B, T)).rejects.toThrow(
      'and this device has no shader-f16. Use the float32 file.',
    );
    await cast.dispose();
    return;
  }
  const half = await create('f16');
  // The products' f16 sums carry about 4e-3.
  expect(relativeError(await logitsOf(half, inputIds, B, T), expected)).toBeLessThan(2e-2);
  await half.dispose();
});

test('weights of 4 and 8 bits give the logits of the values that they stand for', {
  timeout: COMPILE,
}, async () => {
  const row = inputIds.slice(0, T);
  const dtype = hasF16 ? 'f16' : 'f32';
  for (const [bits, type, limit] of [
    // The weights themselves are exact; products sum in float16 where the graph is float16.
    [4, dtype, hasF16 ? 2e-2 : 1e-4],
    // The product's inputs are rounded too: to one of 256 levels between their extremes.
    [8, 'f32', 1e-2],
  ] as const) {
    // One product: each further one would compile as long again.
    const product = 'h.1.mlp.c_proj.product';
    const { packed, rounded } = withRoundedProduct(exportOnnx(type), product, bits, type);
    const stood = await logitsOnCpu({ model: rounded, config: architecture }, row);
    const model = await create(type, packed);
    expect(relativeError(await logitsOf(model, row, 1, T), stood)).toBeLessThan(limit);
    await model.dispose();
    // What rounding to 4 bits changes is far more.
    if (bits === 4)
      expect(relativeError(stood, expected.slice(0, T * V))).toBeGreaterThan(2 * limit);
  }
});

test('the CPU computes a float16 file in float32', async () => {
  const model = exportOnnx('f16');
  const row = inputIds.slice(0, T);
  const logits = await logitsOnCpu({ model, config: architecture }, row);
  // Weights and logits are rounded to f16, by at most 2^-11 each; the sums are not.
  expect(relativeError(logits, expected.slice(0, T * V))).toBeLessThan(2e-3);
  const damaged = model.slice(0, 2000);
  await expect(logitsOnCpu({ model: damaged, config: architecture }, row)).rejects.toThrow(
    /^model\.onnx: onnxruntime failed on the CPU/,
  );
});

test('weights in a file beside the graph are read from it', async () => {
  const { onnx } = onnxProto;
  const model = onnx.ModelProto.decode(exportOnnx('f32'));
  const path = 'model.onnx_data';
  const contents: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of model.graph?.initializer ?? []) {
    const raw = tensor.rawData as Uint8Array;
    if (raw.length < 1024) continue;
    contents.push(raw);
    tensor.rawData = null;
    tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    tensor.externalData = [
      { key: 'location', value: path },
      { key: 'offset', value: String(offset) },
      { key: 'length', value: String(raw.length) },
    ];
    offset += raw.length;
  }
  const row = inputIds.slice(0, T);
  const graph = Uint8Array.from(onnx.ModelProto.encode(model).finish());
  const source = filesSource(
    new Map([
      ['onnx/model.onnx', new Blob([graph])],
      [`onnx/${path}`, new Blob(contents.map((part) => Uint8Array.from(part)))],
    ]),
  );
  const found = await findOnnx(source, { f16: false, dtype: 'f32' });
  expect(await found?.size()).toBe(graph.length + offset);
  const data = await found?.readData?.();
  expect(data?.map((file) => file.path)).toEqual([path]);
  const logits = await logitsOnCpu({ model: graph, data, config: architecture }, row);
  expect(relativeError(logits, expected.slice(0, T * V))).toBeLessThan(1e-4);
});

test('a decoder that takes a mask, positions and earlier keys and values gets them', {
  timeout: COMPILE,
}, async () => {
  const decoder = await create(undefined, alteredModel('f32', asDecoder));
  expect(decoder.dtype).toBe('f32');
  expect(relativeError(await logitsOf(decoder, inputIds, B, T), expected)).toBeLessThan(1e-4);
  await decoder.dispose();

  const strange = alteredModel('f32', (graph) => {
    asDecoder(graph);
    graph.input!.find(({ name }) => name === 'position_ids')!.name = 'token_type_ids';
    for (const made of graph.node!) {
      made.input = made.input!.map((name) => (name === 'position_ids' ? 'token_type_ids' : name));
    }
  });
  await expect(create('f32', strange)).rejects.toThrow(
    'not supported: token_type_ids; supported are input_ids, which is required, attention_mask',
  );
});

test('a position sees itself and earlier positions of its own row only', {
  timeout: COMPILE,
}, async () => {
  const [row, position] = [1, 9];
  const changed = inputIds.slice();
  changed[row * T + position] = (changed[row * T + position] + 1) % V;
  const [before, after] = [
    await logitsOf(teacher, inputIds, B, T),
    await logitsOf(teacher, changed, B, T),
  ];
  const moved = Array.from({ length: B * T }, (_, i) => i).filter((i) =>
    before.subarray(i * V, (i + 1) * V).some((value, v) => value !== after[i * V + v]),
  );
  expect(moved).toEqual(Array.from({ length: T - position }, (_, i) => row * T + position + i));
});

test('other batch sizes and lengths give the same logits for the same tokens', {
  timeout: COMPILE,
}, async () => {
  // Up to 8 rows onnxruntime would take, and compile, other products.
  const length = 9;
  const shorter = await logitsOf(teacher, inputIds.slice(0, length), 1, length);
  expect(relativeError(shorter, expected.subarray(0, length * V))).toBeLessThan(1e-4);
});

test('concurrent runs are done one after the other', { timeout: COMPILE }, async () => {
  const reversed = inputIds.slice().reverse();
  const alone = [await logitsOf(teacher, inputIds, B, T), await logitsOf(teacher, reversed, B, T)];
  const outputs = alone.map(({ byteLength }) => buffer(byteLength));
  await Promise.all([
    teacher.run(inputIds, B, T, outputs[0]),
    teacher.run(reversed, B, T, outputs[1]),
  ]);
  const copy = buffer(2 * alone[0].byteLength, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  const encoder = device.createCommandEncoder();
  for (const [i, output] of outputs.entries()) {
    encoder.copyBufferToBuffer(output, 0, copy, i * output.size, output.size);
  }
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(GPUMapMode.READ);
  expect(new Float32Array(copy.getMappedRange())).toEqual(
    Float32Array.of(...alone[0], ...alone[1]),
  );
  for (const used of [...outputs, copy]) used.destroy();
});

test('sizes, tokens and buffers that do not fit are refused with both values', async () => {
  const output = buffer(B * T * V * 4);
  await expect(teacher.run(inputIds, B, T + 1, output)).rejects.toThrow(
    `${B * T} tokens for batch ${B} × length ${T + 1}`,
  );
  const long = architecture.contextWindow + 1;
  await expect(teacher.run(new Uint32Array(long), 1, long, output)).rejects.toThrow(
    `a length may be 1 to ${long - 1}`,
  );
  await expect(teacher.run(Uint32Array.of(1, V), 1, 2, output)).rejects.toThrow(
    `token ${V} at 1 is outside the vocabulary of ${V}`,
  );
  const small = buffer(16);
  await expect(teacher.run(inputIds, B, T, small)).rejects.toThrow(
    `logits take ${B * T * V * 4} bytes, the output buffer has 16`,
  );
  for (const used of [output, small]) used.destroy();
});

test('a file that is no usable model is refused with its name', async () => {
  const model = exportOnnx('f32');
  const refused = (
    bytes: Uint8Array<ArrayBuffer>,
    dtype: 'f32' | 'f16' = 'f32',
    sizes = architecture,
  ) => {
    return create(dtype, bytes, sizes).then(
      () => 'accepted',
      (error: Error) => `${error.name}: ${error.message}`,
    );
  };
  expect(await refused(model.subarray(0, 300_000))).toMatch(
    /^ModelFileError: model\.onnx: onnxruntime cannot load its 300,000 bytes: /,
  );
  expect(await refused(new Uint8Array(0))).toMatch(
    /^ModelFileError: model\.onnx: onnxruntime cannot load its 0 bytes: /,
  );
  expect(await refused(new TextEncoder().encode('<!doctype html>'))).toMatch(/^ModelFileError: /);

  const unknown = alteredModel(
    'f32',
    ({ node }) => (node!.find(({ opType }) => opType === 'Gelu')!.opType = 'Gelatine'),
  );
  expect(await refused(unknown)).toContain('Gelatine');
  const renamed = alteredModel('f32', ({ input, node }) => {
    input![0].name = 'tokens';
    for (const made of node!)
      made.input = made.input!.map((name) => (name === 'input_ids' ? 'tokens' : name));
  });
  expect(await refused(renamed)).toContain(
    'its inputs are tokens; supported are input_ids, which is required, attention_mask',
  );
  expect(await refused(model, 'f32', { ...architecture, vocabularySize: V + 1 })).toContain(
    `config.json requires [batch, sequence, ${V + 1}]`,
  );
  if (hasF16)
    expect(await refused(model, 'f16')).toContain('its logits are float32, expected float16');
});

test('after dispose, a run is refused and a second dispose does nothing', async () => {
  const other = await create('f32');
  await other.dispose();
  await other.dispose();
  const output = buffer(B * T * V * 4);
  await expect(other.run(inputIds, B, T, output)).rejects.toThrow('run after dispose');
  output.destroy();
});

test('after the device is lost, a run says so, and a teacher on a new device works', {
  timeout: COMPILE,
}, async () => {
  const output = buffer(B * T * V * 4);
  device.destroy();
  await device.lost;
  await expect(teacher.run(inputIds, B, T, output)).rejects.toThrow(
    'teacher: the GPU device was lost',
  );
  await teacher.dispose();

  device = await openDevice();
  teacher = await create('f32');
  expect(relativeError(await logitsOf(teacher, inputIds, B, T), expected)).toBeLessThan(1e-4);
});
