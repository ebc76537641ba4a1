// A folder's tokenizer: from tokenizer.json, from GPT-2's older pair of files, and the error if the
// folder has neither.

import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { readBytePairs } from '../../src/data/bpe';
import { differentTokens } from '../../src/distill/student-start';
import { openTeacher, openTokenizer } from '../../src/distill/teacher/folder';
import { findOnnx, onnxFromWeights } from '../../src/distill/teacher/onnx-file';
import { filesSource } from '../../src/files/source';
import type { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import { openWeights } from '../../src/model/weights';
import { goldenModel, modelFiles } from '../hub-models';

const FOLDER = 'public/models/moby-teacher';
const tokenizerJson = await readFile(`${FOLDER}/tokenizer.json`, 'utf8');
const { vocab, merges } = JSON.parse(tokenizerJson).model as {
  vocab: Record<string, number>;
  merges: string[];
};
const SIZE = Object.keys(vocab).length;
const TEXT =
  'Call me Ishmael. Some years ago — never mind how long precisely — 🐋\r\n' +
  '  I thought\tI’d sail.<|endoftext|>';

const folder = (files: Record<string, string>) =>
  filesSource(new Map(Object.entries(files).map(([name, text]) => [name, new Blob([text])])));
const config = await readFile(`${FOLDER}/tokenizer_config.json`, 'utf8');
const tokenizer = await openTokenizer(
  folder({ 'tokenizer.json': tokenizerJson, 'tokenizer_config.json': config }),
  SIZE,
);

test('vocab.json and merges.txt give the same tokens as tokenizer.json', async () => {
  const old = {
    'vocab.json': JSON.stringify(vocab),
    'merges.txt': `#version: 0.2\n${merges.join('\n')}\n`,
  };
  const pair = await openTokenizer(folder(old), SIZE);
  expect([...pair.encode(TEXT)]).toEqual([...tokenizer.encode(TEXT)]);
  expect(pair.decode(pair.encode(TEXT))).toBe(TEXT);
  expect([pair.vocabularySize, pair.endOfText]).toEqual([SIZE, SIZE - 1]);
});

test('a tokenizer.json alone is enough', async () => {
  const alone = await openTokenizer(folder({ 'tokenizer.json': tokenizerJson }), SIZE);
  expect([...alone.encode(TEXT)]).toEqual([...tokenizer.encode(TEXT)]);
});

test('a tokenizer’s files stay unchanged; the newer two are added to an older pair', async () => {
  const texts = ({ files }: typeof tokenizer) =>
    Object.fromEntries([...files].map(([name, bytes]) => [name, decode(bytes)]));
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  expect(texts(tokenizer)).toEqual({
    'tokenizer.json': tokenizerJson,
    'tokenizer_config.json': config,
  });
  const old = {
    'vocab.json': JSON.stringify(vocab),
    'merges.txt': `#version: 0.2\n${merges.join('\n')}\n`,
  };
  const pair = texts(await openTokenizer(folder(old), SIZE));
  expect(pair).toMatchObject(old);
  const newer = {
    'tokenizer.json': pair['tokenizer.json'],
    'tokenizer_config.json': pair['tokenizer_config.json'],
  };
  const again = await openTokenizer(folder(newer), SIZE);
  expect([...again.encode(TEXT)]).toEqual([...tokenizer.encode(TEXT)]);
  expect(again.endOfText).toBe(SIZE - 1);
});

test('another model’s tokenizer is refused by name, and so is a folder without one', async () => {
  const opening = (files: Record<string, string>, size = SIZE) =>
    openTokenizer(folder(files), size);
  await expect(opening({ 'tokenizer.json': tokenizerJson }, 50257)).rejects.toThrow(
    'the dropped files: the tokenizer has 1024 tokens, but the model has 50257.',
  );
  const old = { 'vocab.json': JSON.stringify(vocab), 'merges.txt': merges.join('\n') };
  await expect(opening(old, 50257)).rejects.toThrow(
    'vocab.json has 1024 tokens, but the model has 50257.',
  );
  await expect(opening({ 'vocab.json': '{}' })).rejects.toThrow(
    'There is no tokenizer.json in the dropped files.',
  );
  await expect(opening({ ...old, 'merges.txt': 'a b c' })).rejects.toThrow(
    'merges.txt: "a b c" is not a pair.',
  );
});

test('a model may have a few rows more than there are tokens; their ids have no text', async () => {
  const padded = await openTokenizer(folder({ 'tokenizer.json': tokenizerJson }), SIZE + 16);
  expect(padded.vocabularySize).toBe(SIZE);
  expect(padded.decode([65, SIZE + 3, 66])).toBe(tokenizer.decode([65, 66]));
  expect(padded.decode([SIZE + 15])).toBe('');
  expect(() => padded.decode([SIZE + 16])).toThrow('no token has id 1040');
  await expect(
    openTokenizer(folder({ 'tokenizer.json': tokenizerJson }), SIZE + 80),
  ).rejects.toThrow('the tokenizer has 1024 tokens, but the model has 1104.');
});

test('two tokenizers of one size with different tokens are told apart', async () => {
  const names = { teacher: 'one', student: 'other' };
  const same = await openTokenizer(folder({ 'tokenizer.json': tokenizerJson }), SIZE);
  expect(differentTokens(tokenizer, same, names)).toBeUndefined();
  const json = JSON.parse(tokenizerJson);
  const [a, b] = Object.keys(json.model.vocab).slice(300, 302);
  [json.model.vocab[a], json.model.vocab[b]] = [json.model.vocab[b], json.model.vocab[a]];
  const swapped = await openTokenizer(folder({ 'tokenizer.json': JSON.stringify(json) }), SIZE);
  expect(differentTokens(tokenizer, swapped, names)?.message).toMatch(
    /^Token 30\d is ".+" for the teacher one and ".+" for the student other\. Choose two models/,
  );
});

test('ids that are not 0, 1, 2, … are refused', () => {
  expect(() => readBytePairs({ a: 0, b: 2 }, '')).toThrow('"b" has id 2, but ids run from 0 to 1.');
  expect(() => readBytePairs({ a: 0, b: 0 }, '')).toThrow('two tokens have id 0');
  expect(() => readBytePairs({ a: 0, b: '1' }, '')).toThrow('"b" has id "1"');
});

test('an ONNX graph is made of the safetensors where the folder has none', async () => {
  const model = modelFiles(goldenModel('teacher'), { onnx: true });
  const blobs = [...model].map(([name, bytes]) => [name, new Blob([bytes])] as const);
  const source = filesSource(new Map(blobs));
  const json = JSON.parse(new TextDecoder().decode(model.get('config.json')));
  const files = await openWeights(source);
  const made = onnxFromWeights(files, parseConfig(json, 'config.json'), 'f32');
  const expected = model.get('onnx/model.onnx')!;
  expect(await made.size()).toBe(expected.length);
  expect((await made.read()).every((byte, i) => byte === expected[i])).toBe(true);

  const found = await findOnnx(source, { f16: false, dtype: 'f32' });
  expect([found?.name, await found?.ours()]).toEqual([
    'onnx/model.onnx of the dropped files',
    true,
  ]);
  const foreign = filesSource(new Map([['onnx/model.onnx', new Blob(['\b\b\x12\x07pytorch'])]]));
  expect(await (await findOnnx(foreign, { f16: true, dtype: 'f16' }))?.ours()).toBe(false);
});

test.each([
  // What the run wants, what the folder has, and what is read.
  ['f16', ['model', 'model_fp16', 'model_q4f16'], 'model_fp16'],
  ['f16', ['model', 'model_q4f16'], 'model'],
  ['f16', ['model_quantized', 'model_q4', 'model_q4f16'], 'model_q4f16'],
  ['f32', ['model_quantized', 'model_q4', 'model_q4f16'], 'model_q4'],
  ['f32', ['model_quantized', 'model_q4f16'], 'model_q4f16'],
  ['f16', ['model_quantized', 'model_bnb4'], 'model_quantized'],
] as const)('in %s, of %j onnxruntime gets %s', async (dtype, names, expected) => {
  const source = folder(Object.fromEntries(names.map((name) => [`onnx/${name}.onnx`, 'x'])));
  const precision = { f16: true, dtype };
  const found = await findOnnx(source, precision, { rounded: true });
  expect(found?.name).toBe(`onnx/${expected}.onnx of the dropped files`);
  expect(found?.dtype).toBe(/16$/.test(expected) ? 'f16' : 'f32');
  // Weights of 4 or 8 bits only where nothing exact would do.
  const exact = await findOnnx(source, precision);
  expect(exact?.name).toBe(/q/.test(expected) ? undefined : found?.name);
  const without = await findOnnx(source, { f16: false, dtype: 'f32' }, { rounded: true });
  expect(without?.name ?? '').not.toMatch(/16\.onnx/);
});

test.each([
  ['fp32', 'model'],
  ['fp16', 'model_fp16'],
  ['q8', 'model_quantized'],
  ['q4', 'model_q4'],
  ['q4f16', 'model_q4f16'],
] as const)('teacher_dtype=%s reads onnx/%s.onnx, also beside safetensors', async (file, name) => {
  const model = modelFiles(goldenModel('teacher'), { onnx: true });
  const blobs = new Map([...model].map(([path, bytes]) => [path, new Blob([bytes])]));
  for (const other of ['model_fp16', 'model_quantized', 'model_q4', 'model_q4f16'])
    blobs.set(`onnx/${other}.onnx`, new Blob([other]));
  const open = (f16 = true) =>
    openTeacher(filesSource(blobs), { file, f16, dtype: f16 ? 'f16' : 'f32' });
  const { engine, bytes } = await open();
  expect(engine).toEqual({ name: 'onnxruntime', reason: `teacher_dtype=${file}` });
  expect(await bytes()).toBe(blobs.get(`onnx/${name}.onnx`)?.size);
  if (/16/.test(file))
    await expect(open(false)).rejects.toThrow(
      `teacher_dtype is ${file}, which computes in float16, and this adapter has no shader-f16. ` +
        'Use teacher_dtype=fp32, q4, q8 or auto.',
    );
  blobs.delete(`onnx/${name}.onnx`);
  await expect(open()).rejects.toThrow(
    `teacher_dtype is ${file}, and there is no onnx/${name}.onnx in the dropped files. It has `,
  );
});

test('onnxruntime refuses to keep attention inside documents', async () => {
  const dense = { model_type: 'bloom', vocab_size: 10, hidden_size: 4, n_ctx: 8 };
  const files = { 'config.json': JSON.stringify(dense), 'onnx/model.onnx': 'never read' };
  const teacher = await openTeacher(folder(files), { f16: false, dtype: 'f32' });
  const shape = { B: 1, T: 4, dtype: 'f32', masked: true } as const;
  for (const make of [teacher.make, teacher.plan])
    await expect(make({} as Gpu, shape)).rejects.toThrow(
      'packing=masked keeps attention inside each document, and onnx/model.onnx of the dropped ' +
        'files takes no such mask. Use packing=on or off, or teacher_engine=stillhouse',
    );
});

test('an ONNX graph that names too many files of weights is refused', async () => {
  const graphOf = (count: number) =>
    Array.from({ length: count }, (_, i) => `model.onnx_data_${i + 1} `).join('');
  const named = (count: number) =>
    findOnnx(folder({ 'onnx/model.onnx': graphOf(count) }), { f16: false, dtype: 'f32' });
  await expect((await named(33))?.size()).rejects.toThrow(
    'onnx/model.onnx of the dropped files names 33 files of weights, but at most 32 are read. ' +
      'Export it with fewer and larger ones.',
  );
  await expect((await named(32))?.size()).rejects.toThrow('model.onnx_data_1');
});
