// What strangers send, and what reads it, and what may be cut off: one row each.

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { parseState as parseBug } from '../../src/app/bug/settings';
import type { Lesson } from '../../src/app/lessons/scene';
import { parseState as parseLesson } from '../../src/app/lessons/state';
import { parseChain } from '../../src/app/strides/chain-text';
import { checkConfig, DEFAULTS } from '../../src/config';
import { tokenizerFiles, trainBytePairs } from '../../src/data/bpe';
import { CorpusError } from '../../src/data/corpus';
import { type Reading, readDocuments } from '../../src/data/documents';
import { makeTokenizer, TokenizerError } from '../../src/data/tokenizer';
import { CacheError, CacheFile, type CacheIdentity } from '../../src/distill/teacher/cache-file';
import { ModelFileError } from '../../src/files/download';
import { hubSource } from '../../src/files/hub';
import { readSafetensors, writeSafetensors } from '../../src/files/safetensors';
import { filesSource, readJson } from '../../src/files/source';
import { zipFiles } from '../../src/files/unzip';
import { formatLink, parseLink } from '../../src/link';
import { parseConfig, parseSizes } from '../../src/model/families';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { initialWeights } from '../../src/model/parameters';
import { openWeights, saveWeights, streamWeights } from '../../src/model/weights';
import { packEntry } from '../../src/reference/topk';
import { CheckpointError, readNewest, writeCheckpoint } from '../../src/runs/checkpoint';
import { formatGhost, parseGhost } from '../../src/runs/ghost';
import { JOURNAL, JournalWriter } from '../../src/runs/journal';
import { Library } from '../../src/runs/library';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { openRunFile, unpackRun } from '../../src/runs/run-file';
import { Random } from '../../src/tensor/random';
import { FILE_CUTS } from '../crash/files';
import { RUN_CUTS } from '../crash/runs';
import { memoryStorage } from '../memory-storage';
import { pack } from '../zip-fixture';
import { bytesLike, jsonText, textLike } from './mutate';
import { type Attack, Misread, Told } from './run';

const encode = (text: string) => new TextEncoder().encode(text);
const known = <Input>(attack: Attack<Input>) => attack as unknown as Attack;

/** An answer with a problem is a refusal. */
function told<Answer extends object>(answer: Answer): Exclude<Answer, { problem: string }> {
  if ('problem' in answer) throw new Told(String(answer.problem));
  return answer as Exclude<Answer, { problem: string }>;
}

// Links.

const ghost = {
  name: 'calm-otter',
  adapter: 'lavapipe',
  own: false,
  changed: false,
  targets: 1024,
  curve: [1, 2, 3].map((step) => ({
    step,
    loss: 4 / step,
    ce: 5 / step,
    kd: 1 / step,
    seconds: step,
  })),
  evaluations: [{ step: 3, studentPerplexity: 30, kl: 0.5, agreement: 0.5 }],
};
const config = { ...DEFAULTS, alpha: 0.25, prompt: 'The sea', train_steps: 40 };
const link = `${formatLink(config)}&ghost=${formatGhost(ghost, config)}`;

const links = known({
  name: 'link of a run',
  inputs: textLike(link, [
    '&',
    '=',
    'v=1',
    '&v=2',
    'alpha',
    '&prompt=',
    '1e9',
    '-',
    '&twin=loss%3Dce',
  ]),
  read(text) {
    const answer = parseLink(text);
    if ('problems' in answer) throw new Told(answer.problems.join(' '));
    if (checkConfig(answer.config).length > 0) throw new Misread('settings that are not valid');
    const again = parseLink(formatLink(answer.config));
    if (JSON.stringify(again) !== JSON.stringify({ config: answer.config }))
      throw new Misread('another link than was read');
    if (answer.ghost !== undefined) told(parseGhost(answer.ghost, answer.config));
  },
  errors: [],
  says: /\w/,
});

const chains = known({
  name: 'link of the Stride Lab',
  inputs: textLike('2,4,6:transpose(0,1):slice(1,0,1):reshape(-1,6)', [
    ',',
    ':',
    '(',
    ')',
    'view',
    '-1',
    '99',
  ]),
  read: (text) => told(parseChain(text)),
  errors: [],
  says: /\w/,
});

const experiments = known({
  name: 'link of the Bug Lab',
  inputs: textLike('replay,batch=1,errors=raised', [
    ',',
    '=',
    'causes',
    'heads',
    'seed=7',
    'clamp=off',
  ]),
  read: (text) => told(parseBug(text)),
  errors: [],
  says: /\w/,
});

const LESSONS = ['temperature', 'alpha'].map((id) => ({
  id,
  control: { values: [1, 2, 4], symbol: 'T' },
})) as unknown as Lesson[];
const lessons = known({
  name: 'link of a lesson',
  inputs: textLike('temperature:4', [':', 'alpha', '2', '-', '1e0']),
  read: (text) => told(parseLesson(text, LESSONS)),
  errors: [],
  says: /\w/,
});

// Models.

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
const configs = known({
  name: 'config.json',
  inputs: fc.oneof(jsonText(configJson), jsonText(llamaJson)),
  async read(text) {
    const source = filesSource(new Map([['config.json', new Blob([text])]]));
    const json = await readJson(source, 'config.json');
    parseSizes(json);
    const { parameters, vocabularySize } = parseConfig(json);
    const isSize = (size: number) => Number.isInteger(size) && size > 0;
    if (!isSize(vocabularySize) || !parameters.every(({ shape }) => shape.every(isSize)))
      throw new Misread('a size that is none');
  },
  errors: [ModelFileError],
  says: /^config\.json/,
});

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

// Texts.

const readings: Reading[] = [
  { format: 'text', columns: ['text'] },
  { format: 'dialogue', columns: ['text'] },
  { format: 'dialogue', columns: ['text', 'reply'] },
  { format: 'dialogue', columns: ['text'], dialogueId: 'id' },
];
const TABLES = {
  txt: 'Hi.\nWho?\n\nCall me Ishmael.\n',
  csv: 'id,text,reply\n1,"a ""b""\nc",d\n2,e,f\n',
  jsonl: '{"id": 1, "text": "a", "reply": ["b", "c"]}\n{"id": 2, "text": "d", "reply": "e"}\n',
};
const documents = (Object.keys(TABLES) as (keyof typeof TABLES)[]).map((kind) =>
  known({
    name: `.${kind}`,
    inputs: fc.record({
      bytes: fc.oneof(
        textLike(TABLES[kind], ['"', ',', '\n', '\r', '""', '{}', '[', ']', ':', ' ', 'text']).map(
          encode,
        ),
        bytesLike(encode(TABLES[kind])),
      ),
      reading: fc.constantFrom(...readings),
    }),
    read({ bytes, reading }) {
      const read = readDocuments({ name: `a.${kind}`, bytes }, reading);
      const isText = (turn: unknown) => typeof turn === 'string' && turn.trim() !== '';
      const turns = read.documents.filter((document) => Array.isArray(document));
      if (!turns.every((each) => each.length > 0 && each.every(isText)))
        throw new Misread('a document that is no text');
    },
    errors: [CorpusError],
    says: new RegExp(`^a\\.${kind}`),
  }),
);

// What is kept.

const [RUN, OTHER] = ['20261126-100000-aaaaaa', '20261126-100001-bbbbbb'];
const facts = { config, student: {}, dtype: 'f32' as const, adapter: 'a', data: 'abc' };
const kept = new MemoryStorage();
const buffer = Float32Array.of(1, 2, 3, 4).buffer;
const snapshot = { step: 3, master: buffer, mean: buffer, square: buffer, scaler: buffer };
await writeCheckpoint(kept, '', facts, snapshot);
const journal = new JournalWriter(kept, '');
await journal.begin({
  id: RUN,
  time: '2026-11-26T10:00:00Z',
  link: '#v=1',
  config,
  adapter: { name: 'a' },
  dtype: 'f32',
  student: {},
});
for (let step = 1; step <= 4; step++)
  journal.step({ step, loss: 5 - step, ce: 4, kd: 1, tokens: 64, seconds: step } as never);
journal.evaluation({ step: 4, tokens: 9, studentPerplexity: 40, kl: 0.5 } as never);
journal.changed({ step: 2, changes: { alpha: 0.5 } });
journal.timing({ step: 4, seconds: 4 });
await journal.flush();
const CHECKPOINT = 'checkpoint-3.bin';
const checkpoint = kept.files.get(CHECKPOINT) as Uint8Array<ArrayBuffer>;
const metrics = new TextDecoder().decode(kept.files.get(JOURNAL));

const checkpoints = known({
  name: 'checkpoint',
  inputs: fc.oneof(
    bytesLike(checkpoint),
    // With a right checksum, as whoever changes the header by hand might write it.
    jsonText(
      JSON.parse(new TextDecoder().decode(checkpoint.subarray(0, checkpoint.indexOf(10)))),
    ).map((text) => {
      const line = encode(text);
      const sum = createHash('sha256').update(line).digest('hex');
      const arrays = checkpoint.subarray(checkpoint.indexOf(10) + 66);
      return new Uint8Array(Buffer.concat([line, encode(`\n${sum}\n`), arrays]));
    }),
  ),
  async read(bytes) {
    const storage = new MemoryStorage();
    storage.files.set(CHECKPOINT, bytes);
    const read = await readNewest(storage, '', () => {});
    const { step, ...arrays } = read.snapshot;
    const isStep = Number.isSafeInteger(step) && step >= 0;
    const same = Object.values(arrays).every(
      (one) => !Buffer.compare(Buffer.from(one), Buffer.from(buffer)),
    );
    if (!isStep || !same) throw new Misread('a state that was never written');
  },
  errors: [CheckpointError],
  says: /^checkpoint-3\.bin/,
  hinted: true,
});

/** A library that has taken in a run. */
const libraryOf = (storage: MemoryStorage) =>
  new Library(storage, { exclusive: (task) => task(), open: async () => new Set() });
/** @throws Misread if a row would show what is none */
async function look(storage: MemoryStorage): Promise<void> {
  // Beside another one.
  storage.files.set(`${OTHER}/${JOURNAL}`, encode(metrics));
  const library = libraryOf(storage);
  await library.tidy();
  const rows = await library.rows();
  if (rows.length !== 2) throw new Misread(`${rows.length} runs, not 2`);
  for (const row of rows) {
    if (checkConfig(row.config).length > 0 && row.state !== 'unreadable')
      throw new Misread('settings that are not valid');
    for (const text of [row.name, row.time, row.adapter, row.data])
      if (typeof text !== 'string') throw new Misread('a name that is no text');
    for (const figure of [row.step, row.perplexity ?? 0, row.seconds, ...row.curve])
      if (!Number.isFinite(figure)) throw new Misread('a figure that is none');
  }
}

const lines = metrics
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line));
const journalText = fc.oneof(
  textLike(metrics, [
    '{',
    '}',
    '"step":',
    'null',
    '\n',
    '{"type":"step"}\n',
    '{"type":"config"}\n',
  ]),
  fc
    .nat(lines.length - 1)
    .chain((at) =>
      jsonText(lines[at]).map((text) =>
        lines.map((line, i) => `${i === at ? text : JSON.stringify(line)}\n`).join(''),
      ),
    ),
);
const journals = known({
  name: JOURNAL,
  inputs: journalText,
  async read(text) {
    const storage = new MemoryStorage();
    storage.files.set(`${RUN}/${JOURNAL}`, encode(text));
    storage.files.set(`${RUN}/${CHECKPOINT}`, checkpoint);
    await look(storage);
  },
  errors: [],
  says: /\w/,
});

const runFiles = known({
  name: 'run file',
  inputs: fc.oneof(
    journalText.map((text) => ({ text, change: (bytes: Uint8Array<ArrayBuffer>) => bytes })),
    bytesLike(
      new Uint8Array(
        await pack([{ name: `r/${JOURNAL}`, content: encode(metrics) }]).arrayBuffer(),
      ),
    ).map((bytes) => ({ text: '', change: () => bytes })),
  ),
  async read({ text, change }) {
    const whole = pack([
      { name: `r/${JOURNAL}`, content: encode(text), deflate: true },
      { name: `r/${CHECKPOINT}`, content: checkpoint },
      { name: 'r/label.json', content: encode('{"name": 5, "deleted": {}}') },
    ]);
    const bytes = change(new Uint8Array(await whole.arrayBuffer()));
    const storage = new MemoryStorage();
    await unpackRun(await openRunFile('a.run.zip', new Blob([bytes])), storage, RUN);
    await look(storage);
  },
  errors: [CheckpointError, ModelFileError],
  says: /^a\.run\.zip|^checkpoint-3\.bin/,
  hinted: true,
});

const identity: CacheIdentity = {
  teacher: 'a',
  dtype: 'f32',
  V: 100,
  k: 2,
  temperature: 2,
  batchSize: 1,
  contextLength: 2,
  trainBatches: 2,
  heldOutBatches: 1,
  tokens: 'abc',
  prompt: 'x',
  sampleTokens: 1,
};
const cacheStorage = memoryStorage();
const entry = packEntry({ ids: [3, 7], values: [0, -1], tail: -2 }, identity.V);
await CacheFile.create(cacheStorage, identity, async (file) => {
  for (let place = 0; place < 3; place++)
    await file.write(place, Uint32Array.from([...entry, ...entry]));
  return { seconds: 1 };
});
const caches = known({
  name: "teacher's cache",
  inputs: bytesLike(cacheStorage.bytes.slice()),
  async read(bytes) {
    const storage = memoryStorage();
    storage.bytes = bytes;
    const file = await CacheFile.open(storage, identity);
    for (let place = 0; place < 3; place++)
      if (
        Buffer.compare(
          Buffer.from((await file.read(place)).buffer),
          Buffer.from(Uint32Array.from([...entry, ...entry]).buffer),
        ) !== 0
      )
        throw new Misread(`batch ${place} differs`);
  },
  errors: [CacheError],
  says: /cache/,
  hinted: true,
});

export const ATTACKS: readonly Attack[] = [
  ...[links, chains, experiments, lessons],
  ...[safetensors, configs, folders, tokenizers, zips, hubAnswers],
  ...documents,
  ...[checkpoints, journals, runFiles, caches],
  ...[...RUN_CUTS, ...FILE_CUTS],
];
