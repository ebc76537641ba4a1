// The safetensors format: round trips, hostile and damaged files, and a GPT-2's weights under
// Hugging Face's names.

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ModelFileError } from '../../src/files/download';
import {
  readSafetensors,
  type SafetensorsType,
  type StoredTensor,
  toFloat32,
  writeSafetensors,
} from '../../src/files/safetensors';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { loadWeights, saveWeights } from '../../src/model/weights';

const FILE = 'student.safetensors';
const config: Gpt2Config = {
  vocab_size: 11,
  n_positions: 6,
  n_embd: 8,
  n_layer: 2,
  n_head: 2,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
};
const model = gpt2(config);
const weights = new Map(
  model.parameters.map(({ name, shape }, parameter) => {
    const length = shape.reduce((product, extent) => product * extent, 1);
    return [name, Float32Array.from({ length }, (_, i) => Math.sin(i + parameter))];
  }),
);

/** A file with this header, verbatim, and `dataBytes` bytes of data. */
function rawFile(header: unknown, dataBytes: number, headerLength?: bigint): Uint8Array {
  const text = new TextEncoder().encode(
    typeof header === 'string' ? header : JSON.stringify(header),
  );
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, headerLength ?? BigInt(text.length), true);
  file.set(text, 8);
  return file;
}
const entry = (dtype: string, shape: unknown, data_offsets: unknown) => ({
  dtype,
  shape,
  data_offsets,
});
function refusal(load: () => unknown): string {
  try {
    load();
  } catch (error) {
    expect(error).toBeInstanceOf(ModelFileError);
    return (error as Error).message;
  }
  throw new Error('expected a refusal');
}
const reading = (file: Uint8Array) => refusal(() => readSafetensors(file, FILE));
const f32 = (shape: number[], ...values: number[]) => ({
  dtype: 'F32' as const,
  shape,
  data: Float32Array.from(values),
});

test('any types, shapes and names are written and read back, bit for bit', () => {
  const bytes = { F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, BOOL: 1 };
  const tensor = fc
    .record({
      dtype: fc.constantFrom(...(Object.keys(bytes) as SafetensorsType[])),
      shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
      seed: fc.nat(255),
    })
    .map(({ dtype, shape, seed }) => {
      const length = shape.reduce((product, extent) => product * extent, bytes[dtype]);
      return { dtype, shape, data: Uint8Array.from({ length }, (_, i) => i * 7 + seed) };
    });
  const names = fc.string().filter((name) => name !== '__metadata__');
  fc.assert(
    fc.property(fc.array(fc.tuple(names, tensor), { maxLength: 6 }), (list) => {
      const tensors = new Map(list);
      const read = readSafetensors(writeSafetensors(tensors, { format: 'pt' }), FILE);
      expect(new Map([...read].sort())).toEqual(new Map([...tensors].sort()));
    }),
    { numRuns: 200 },
  );
});

test('tensors are aligned to their elements, for any length of the header', () => {
  const small: StoredTensor = { dtype: 'U8', shape: [3], data: new Uint8Array(3) };
  const wide: StoredTensor = { dtype: 'F32', shape: [1], data: new Uint8Array(4) };
  const file = writeSafetensors(
    new Map([
      ['a', small],
      ['b', wide],
    ]),
  );
  const { byteOffset } = readSafetensors(file, FILE).get('b')!.data;
  expect(byteOffset % 4).toBe(0);
});

test('every stored type is converted to float32, at any alignment', () => {
  const of = (dtype: SafetensorsType, data: ArrayBufferView) => {
    const odd = new Uint8Array(data.byteLength + 1).subarray(1);
    odd.set(new Uint8Array(data.buffer));
    return [...toFloat32({ dtype, shape: [], data: odd })];
  };
  expect(of('F32', Float32Array.of(1.5, -0))).toEqual([1.5, -0]);
  expect(of('F16', Uint16Array.of(0x3e00, 0xc000))).toEqual([1.5, -2]);
  expect(of('BF16', Uint16Array.of(0x3fc0, 0xc000))).toEqual([1.5, -2]);
  expect(of('I32', Int32Array.of(-7, 50256))).toEqual([-7, 50256]);
  expect(of('I64', BigInt64Array.of(-7n, 50256n))).toEqual([-7, 50256]);
  expect(of('BOOL', Uint8Array.of(0, 1))).toEqual([0, 1]);
});

test('the values are a copy, even if the file is a Node Buffer', () => {
  const file = Buffer.from(writeSafetensors(new Map([['a', f32([1], 3)]])));
  const values = toFloat32(readSafetensors(file, FILE).get('a')!);
  expect(values.buffer.byteLength).toBe(4);
  file.fill(0);
  expect(values[0]).toBe(3);
});

test('a file from another library is read: PyTorch’s goldens', () => {
  const bytes = readFileSync(new URL('../fixtures/goldens/gpt2_run.safetensors', import.meta.url));
  const tokens = readSafetensors(bytes, 'gpt2_run.safetensors').get('tokens')!;
  expect([tokens.dtype, ...tokens.shape]).toEqual(['I32', 10, 3, 18]);
  expect(
    toFloat32(tokens).every((token) => Number.isInteger(token) && token >= 0 && token < 97),
  ).toBe(true);
});

test('a file cut short says how much of it is there', () => {
  const whole = writeSafetensors(new Map([['a', f32([1000], ...new Array(1000).fill(1))]]));
  expect(reading(whole.subarray(0, 1900))).toBe(
    `${FILE} is 1,900 of ${whole.length.toLocaleString('en-US')} bytes long. Download it again.`,
  );
  expect(reading(whole.subarray(0, 5))).toContain('5 bytes are too few');
  expect(reading(whole.subarray(0, 20))).toContain('cut short or not safetensors');
  for (let length = 0; length < whole.length; length += 97) reading(whole.subarray(0, length));
});

test('hostile header lengths are refused before anything is allocated', () => {
  expect(reading(rawFile('{}', 0, 2n ** 63n))).toContain(
    '9,223,372,036,854,775,808 bytes, the file has 10',
  );
  expect(reading(rawFile('{}', 0, 2n ** 64n - 1n))).toContain('cut short or not safetensors');
  expect(reading(rawFile('{}', 0, 3n))).toContain('cut short or not safetensors');
});

test('a header that is not a table of tensors is refused', () => {
  expect(reading(rawFile('{"a":', 0))).toContain('its header is not JSON');
  expect(reading(rawFile('[]', 0))).toContain('its header is not an object');
  expect(reading(rawFile('null', 0))).toContain('its header is not an object');
  expect(reading(rawFile({ a: null }, 0))).toContain('tensor a has type missing');
  expect(reading(rawFile({ a: entry('F8_E4M3', [1], [0, 1]) }, 1))).toContain(
    'tensor a has type "F8_E4M3"; readable are F32',
  );
  expect(reading(rawFile({ a: entry('toString', [1], [0, 4]) }, 4))).toContain(
    'tensor a has type "toString"',
  );
  expect(reading(rawFile({ a: entry('F32', [-1], [0, 4]) }, 4))).toContain(
    'tensor a has shape [-1]',
  );
  expect(reading(rawFile({ a: entry('F32', [1], [4, 0]) }, 4))).toContain(
    'tensor a has data_offsets [4,0]',
  );
  expect(reading(rawFile({ a: entry('F32', [1], [0, 2 ** 60]) }, 4))).toContain(
    'tensor a has data_offsets',
  );
});

test('long and deep values make short messages, and too many tensors are refused', () => {
  const deep = JSON.parse(`${'['.repeat(20_000)}${']'.repeat(20_000)}`);
  const long = 'x'.repeat(1_000_000);
  const headers: Record<string, unknown>[] = [
    { [long]: entry('F32', [3], [0, 4]) },
    { a: { dtype: deep, shape: [1], data_offsets: [0, 4] } },
    { a: entry('F32', deep, [0, 4]) },
    { a: entry('F32', new Array(500_000).fill(2), [0, 4]) },
    { 'a\u202e\n': entry('F32', [1], [1, 4]) },
  ];
  // By hand: JSON.stringify has a call stack, too.
  const text = (header: Record<string, unknown>) =>
    JSON.stringify(header, (_, value) => (value === deep ? 'DEEP' : value)).replace(
      '"DEEP"',
      `${'['.repeat(20_000)}${']'.repeat(20_000)}`,
    );
  for (const header of headers) {
    const message = reading(rawFile(text(header), 4));
    expect(message).toMatch(/: tensor /);
    expect(message.length).toBeLessThan(300);
    expect(message).not.toMatch(/[\n\u202e]/);
  }
  const empty = Array.from({ length: 100_001 }, (_, i) => [`t${i}`, entry('F32', [0], [0, 0])]);
  expect(reading(rawFile(Object.fromEntries(empty), 0))).toContain(
    'its header lists 100,001 tensors, at most 100,000 are read',
  );
});

test('offsets must fit the shape, each other and the file', () => {
  expect(reading(rawFile({ a: entry('F32', [3], [0, 8]) }, 8))).toContain(
    'tensor a has 8 bytes; F32 of shape [3] takes 12',
  );
  const overlap = { a: entry('F32', [2], [0, 8]), b: entry('F32', [2], [4, 12]) };
  expect(reading(rawFile(overlap, 12))).toContain(
    'tensor b at 4 to 12 overlaps the tensor before it, which ends at 8',
  );
  const gap = { a: entry('F32', [1], [0, 4]), b: entry('F32', [1], [8, 12]) };
  expect(reading(rawFile(gap, 12))).toContain('tensor b at 8 to 12 leaves a gap');
  expect(reading(rawFile({ a: entry('F32', [1], [0, 4]) }, 7))).toContain(
    '3 bytes follow the last tensor',
  );
});

test('writing refuses bytes that do not fit the shape', () => {
  expect(() => writeSafetensors(new Map([['a', f32([3], 1, 2)]]))).toThrow(
    'tensor a: got 8 bytes; F32 of shape [3] takes 12',
  );
});

test('a GPT-2’s weights come back in arena order, with or without the prefix', () => {
  const read = readSafetensors(saveWeights(model, weights), FILE);
  expect([...read.keys()].every((name) => name.startsWith('transformer.'))).toBe(true);
  const loaded = loadWeights(read, model, FILE);
  expect([...loaded.keys()]).toEqual(model.parameters.map(({ name }) => name));
  expect(loaded).toEqual(weights);
  const bare = new Map(
    [...read].map(([name, tensor]) => [name.replace('transformer.', ''), tensor]),
  );
  expect(loadWeights(bare, model, FILE)).toEqual(weights);
});

test('stored in float16, weights come back rounded', () => {
  const loaded = loadWeights(
    readSafetensors(saveWeights(model, weights, 'F16'), FILE),
    model,
    FILE,
  );
  for (const [name, values] of weights) {
    expect(
      Math.max(...values.map((value, i) => Math.abs(value - loaded.get(name)![i]))),
    ).toBeLessThan(2 ** -12 + 1e-9);
  }
});

test('masks are ignored, a tied head is accepted, another head is refused', () => {
  const read = readSafetensors(saveWeights(model, weights), FILE);
  const embedding = read.get('transformer.wte.weight')!;
  read.set('transformer.h.0.attn.bias', {
    dtype: 'U8',
    shape: [1, 1, 6, 6],
    data: new Uint8Array(36),
  });
  read.set('transformer.h.1.attn.masked_bias', f32([], -1e4) as never);
  read.set('lm_head.weight', embedding);
  expect(loadWeights(read, model, FILE)).toEqual(weights);

  read.set('lm_head.weight', { ...embedding, data: new Uint8Array(embedding.data.length) });
  expect(refusal(() => loadWeights(read, model, FILE))).toContain(
    'lm_head.weight differs from wte.weight',
  );

  read.set('lm_head.weight', embedding);
  read.delete('transformer.wte.weight');
  expect(loadWeights(read, model, FILE)).toEqual(weights);
});

test('weights that do not belong to the config are refused by name', () => {
  const after = (change: (read: ReturnType<typeof readSafetensors>) => void, sizes = config) => {
    const read = readSafetensors(saveWeights(model, weights), FILE);
    change(read);
    return refusal(() => loadWeights(read, gpt2(sizes), FILE));
  };
  const bias = 'transformer.ln_f.bias';
  expect(after((read) => read.delete(bias))).toContain(`${FILE}: ln_f.bias is missing`);
  expect(after(() => {}, { ...config, n_layer: 3 })).toContain(
    'h.2.attn.c_attn.weight, h.2.attn.c_proj.weight, ',
  );
  expect(after(() => {}, { ...config, n_layer: 3 })).toContain('and 9 more are missing');
  expect(after(() => {}, { ...config, n_layer: 1 })).toContain('and 9 more are unknown');
  expect(after(() => {}, { ...config, n_positions: 7 })).toContain(
    'wpe.weight has shape [6, 8], config.json asks for [7, 8]',
  );
  expect(after((read) => read.set('ln_f.bias', read.get(bias)!))).toContain(
    'ln_f.bias is stored twice, as transformer.ln_f.bias and as ln_f.bias',
  );
  const ints = { dtype: 'I32' as const, shape: [8], data: new Uint8Array(32) };
  expect(after((read) => read.set(bias, ints))).toContain('ln_f.bias has type I32');
  const broken = Float32Array.of(0, 0, NaN, 0, 0, 0, 0, 0);
  expect(
    after((read) => read.set(bias, { ...ints, dtype: 'F32', data: new Uint8Array(broken.buffer) })),
  ).toContain('ln_f.bias holds NaN at element 2');
});
