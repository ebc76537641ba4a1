// What a model can be made of: its files, an archive of them, and what the hub answers.

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import onnxProto from 'onnx-proto';
import { tokenizerFiles, trainBytePairs } from '../../src/data/bpe';
import { makeTokenizer, TokenizerError } from '../../src/data/tokenizer';
import { findOnnx } from '../../src/distill/teacher/onnx-file';
import { ModelFileError } from '../../src/files/download';
import { hubSource } from '../../src/files/hub';
import { readSafetensors, writeSafetensors } from '../../src/files/safetensors';
import { filesSource, readJson } from '../../src/files/source';
import { zipFiles } from '../../src/files/unzip';
import { parseConfig, parseSizes } from '../../src/model/families';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { initialWeights } from '../../src/model/parameters';
import { openWeights, saveWeights, streamWeights } from '../../src/model/weights';
import { Random } from '../../src/tensor/random';
import { pack } from '../zip-fixture';
import { bytesLike, jsonText, textLike } from './mutate';
import { type Attack, encode, known, Misread } from './run';

const NAME = 'model.safetensors';
const safetensors = known({
  name: 'safetensors',
  inputs: (() => {
    const data = new Float32Array([1, 2, 3, 4, 5, 6]);
    const whole = writeSafetensors(
      new Map([
        ['a.weight', { dtype: 'F32', shape: [2, 3], data }],
        ['a.bias', { dtype: 'F16', shape: [3], data: new Uint16Array(3) }],
        ['none', { dtype: 'I64', shape: [0], data: new Uint8Array() }],
      ]),
      { format: 'pt' },
    );
    const length = Number(new DataView(whole.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(whole.subarray(8, 8 + length)));
    const changed = jsonText(header).map((text) => {
      const json = encode(text);
      const bytes = new Uint8Array(8 + json.length + whole.length - 8 - length);
      new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
      bytes.set(json, 8);
      bytes.set(whole.subarray(8 + length), 8 + json.length);
      return bytes;
    });
    return fc.oneof(bytesLike(whole), changed);
  })(),
  read(bytes) {
    let end = 0;
    for (const [name, { dtype, shape, data }] of readSafetensors(bytes, NAME)) {
      const size = { F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, BOOL: 1 }[dtype];
      if (data.length !== shape.reduce((a, b) => a * b, size)) throw new Misread(`${name}: a size`);
      if (end > 0 && data.byteOffset !== end) throw new Misread(`${name}: a gap`);
      end = data.byteOffset + data.length;
    }
  },
  errors: [ModelFileError],
  says: /^model\.safetensors/,
});

const model = gpt2({
  vocab_size: 260,
  n_positions: 8,
  n_embd: 4,
  n_layer: 1,
  n_head: 1,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
});
const configJson = model.formatConfig('float32');
const llamaJson = {
  model_type: 'llama',
  vocab_size: 260,
  max_position_embeddings: 64,
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  rope_scaling: {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 32,
  },
  tie_word_embeddings: true,
};
const SPARSE = { ...llamaJson, rope_scaling: null, hidden_act: 'silu', num_experts_per_tok: 2 };
const expertJsons = [
  { ...SPARSE, model_type: 'mixtral', num_local_experts: 4, sliding_window: 8 },
  {
    ...SPARSE,
    model_type: 'qwen3_moe',
    head_dim: 8,
    num_experts: 4,
    moe_intermediate_size: 8,
    norm_topk_prob: true,
    decoder_sparse_step: 1,
    mlp_only_layers: [0],
  },
  {
    ...SPARSE,
    model_type: 'dots1',
    head_dim: 8,
    n_routed_experts: 4,
    n_shared_experts: 1,
    n_group: 1,
    topk_group: 1,
    moe_intermediate_size: 8,
    first_k_dense_replace: 1,
    norm_topk_prob: true,
    routed_scaling_factor: 2.5,
    layer_types: ['full_attention', 'sliding_attention'],
    sliding_window: 8,
  },
];
const configs = known({
  name: 'config.json',
  inputs: fc.oneof(...[configJson, llamaJson].map(jsonText)),
  read: readConfig,
  errors: [ModelFileError],
  says: /^config\.json/,
});
const expertConfigs = known({
  ...configs,
  name: 'config.json with experts',
  inputs: fc.oneof(...expertJsons.map(jsonText)),
  read: readConfig,
});

async function readConfig(text: string): Promise<void> {
  const source = filesSource(new Map([['config.json', new Blob([text])]]));
  const json = await readJson(source, 'config.json');
  parseSizes(json);
  const { parameters, vocabularySize } = parseConfig(json);
  const isSize = (size: number) => Number.isInteger(size) && size > 0;
  if (!isSize(vocabularySize) || !parameters.every(({ shape }) => shape.every(isSize)))
    throw new Misread('a size that is none');
}

const weights = saveWeights(model, initialWeights(model.parameters, new Random(1)));
const folders = known({
  name: "a model's folder",
  inputs: fc.record({
    weights: fc.oneof(fc.constant(weights), bytesLike(weights)),
    index: jsonText({
      metadata: {},
      weight_map: { 'transformer.wte.weight': 'model-1.safetensors' },
    }),
    single: fc.boolean(),
  }),
  async read({ weights: bytes, index, single }) {
    const files = single
      ? { [NAME]: bytes }
      : { [`${NAME}.index.json`]: index, 'model-1.safetensors': bytes };
    const source = filesSource(
      new Map(Object.entries(files).map(([name, content]) => [name, new Blob([content])])),
    );
    await streamWeights(await openWeights(source), model, (name, _, values) => {
      if (!values.every(Number.isFinite)) throw new Misread(`${name} is not finite`);
    });
  },
  errors: [ModelFileError],
  says: /model(-1)?\.safetensors/,
});

const { tokenizerJson, tokenizerConfig } = tokenizerFiles(
  trainBytePairs('the whale and the sea, the sea and the whale', 260),
);
const tokenizers = known({
  name: 'tokenizer.json',
  inputs: fc.oneof(
    jsonText({ ...tokenizerJson, model: { ...tokenizerJson.model } }),
    jsonText({
      ...tokenizerJson,
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: '\\s+|\\S+' }, behavior: 'Isolated', invert: false },
          tokenizerJson.pre_tokenizer,
        ],
      },
    }),
  ),
  read(text) {
    const tokenizer = makeTokenizer(JSON.parse(text), tokenizerConfig);
    const ids = tokenizer.encode('the whale\n and été 🐋');
    if (ids.some((id) => id >= tokenizer.vocabularySize))
      throw new Misread('an id without a token');
    tokenizer.decode(ids);
  },
  errors: [TokenizerError],
  says: /tokenizer/,
});

const entries = [
  { name: 'm/config.json', content: encode(JSON.stringify(configJson)), deflate: true },
  { name: 'm/model.safetensors', content: weights, deflate: true, sizesLater: true },
  { name: 'm/notes.txt', content: encode('call me ishmael '.repeat(9)) },
];
const zipped = new Uint8Array(await pack(entries).arrayBuffer());
const zips = known({
  name: '.zip',
  inputs: bytesLike(zipped),
  async read(bytes) {
    for (const [name, read] of await zipFiles('model.zip', new Blob([bytes]))) {
      const content = new Uint8Array(await (await read()).arrayBuffer());
      const entry = entries.find((one) => one.name === name);
      if (entry && Buffer.compare(content, entry.content) !== 0)
        throw new Misread(`${name} differs`);
    }
  },
  errors: [ModelFileError],
  says: /^model\.zip/,
});

// A graph for onnxruntime, of 4 or 8 bits, whose weights are in files beside it. What onnxruntime
// itself makes of it is not tried.
const GRAPH_FILES = ['onnx/model_q4.onnx', 'onnx/model_quantized.onnx'];
const graph = (file: string) => {
  const { onnx } = onnxProto;
  const base = file.replace('onnx/', '');
  const initializer = [0, 1].map((i) => ({
    name: `w${i}`,
    dataType: onnx.TensorProto.DataType.UINT8,
    dims: [4, 2, 16],
    dataLocation: onnx.TensorProto.DataLocation.EXTERNAL,
    externalData: [{ key: 'location', value: `${base}_data${i === 0 ? '' : '_1'}` }],
  }));
  const node = [{ opType: 'MatMulNBits', domain: 'com.microsoft', input: ['x', 'w0', 'w1'] }];
  const whole = { irVersion: 8, producerName: 'x', graph: { node, initializer } };
  return onnx.ModelProto.encode(whole).finish();
};
const graphs = known({
  name: 'ONNX graph of 4 or 8 bits',
  inputs: fc.constantFrom(...GRAPH_FILES).chain((name) =>
    fc.record({
      name: fc.constant(name),
      bytes: fc.oneof(
        bytesLike(graph(name)),
        textLike('', [`${name.slice(5)}_data`, '_1', '_999999999999', '.onnx_data_']).map(encode),
      ),
      data: fc.subarray(['', '_1']),
    }),
  ),
  async read({ name, bytes, data }) {
    const files = new Map([[name, new Blob([bytes])]]);
    for (const end of data) files.set(`${name}_data${end}`, new Blob([weights]));
    const file = await findOnnx(filesSource(files), { f16: true, dtype: 'f32' }, { rounded: true });
    const size = (await file?.size()) ?? 0;
    const [model, beside] = [await file?.read(), await file?.readData?.()];
    await file?.ours();
    const all = [model, ...(beside ?? []).map((one) => one.data)];
    if (size !== all.reduce((sum, one) => sum + (one?.length ?? 0), 0)) throw new Misread('a size');
  },
  errors: [ModelFileError],
  says: /onnx/,
});

// The hub.

const hubText = JSON.stringify({ model_type: 'gpt2', n_layer: 2 });
const hubTree = [
  {
    type: 'file',
    path: 'config.json',
    oid: createHash('sha1').update(`blob ${hubText.length}\0${hubText}`).digest('hex'),
    size: hubText.length,
  },
];
const hubAnswers = known({
  name: 'answers of the hub',
  inputs: fc.record({
    status: fc.constantFrom(200, 200, 206, 206, 204, 302, 401, 404, 416, 429, 500, 503),
    body: fc.oneof(fc.constant(encode(hubText)), bytesLike(encode(hubText))),
    tree: fc.oneof(fc.constant(JSON.stringify(hubTree)), jsonText(hubTree)),
    headers: fc.dictionary(
      fc.constantFrom(
        ...['content-length', 'content-range', 'content-type', 'content-encoding', 'etag'],
        ...['retry-after', 'x-repo-commit', 'x-error-code'],
      ),
      fc.constantFrom(
        ...['0', '-1', String(hubText.length), String(2 ** 50), 'bytes 0-9/9', 'gzip', 'text/html'],
        ...[
          `bytes 0-${hubText.length - 1}/${hubText.length}`,
          'bytes */0',
          'bytes 5-9/32',
          'x',
          '3600',
        ],
        ...['RepoNotFound', 'application/json', '"tag"'],
      ),
    ),
    breaks: fc.boolean(),
  }),
  async read({ status, body, tree, headers, breaks }) {
    const before = globalThis.fetch;
    globalThis.fetch = async (address) => {
      if (String(address).includes('/api/')) return new Response(tree);
      const stream = new ReadableStream({
        start(controller) {
          if (body.length > 0) controller.enqueue(body.slice());
          if (breaks) controller.error(new TypeError('terminated'));
          else controller.close();
        },
      });
      // Waiting is not what is tried.
      if (headers['retry-after'] !== '3600') delete headers['retry-after'];
      return new Response(status === 204 ? null : stream, { status, headers });
    };
    try {
      const json = await readJson(hubSource({ id: 'org/name', pause: 0 }), 'config.json');
      const isListed = tree === JSON.stringify(hubTree);
      if (isListed && JSON.stringify(json) !== hubText) throw new Misread('other contents');
    } finally {
      globalThis.fetch = before;
    }
  },
  errors: [ModelFileError],
  says: /^config\.json/,
});

export const MODELS: readonly Attack[] = [
  ...[safetensors, configs, expertConfigs, folders, tokenizers, graphs, zips, hubAnswers],
];
