// The .zip that a student leaves in, and those that models come in: ours, other programs', damaged
// and hostile ones.

import { deflateRawSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { ModelFileError } from '../../src/files/download';
import { readJson } from '../../src/files/source';
import { zipSource } from '../../src/files/unzip';
import { crc32, HEADER, SIGNATURE, writeZip, ZIP64 } from '../../src/files/zip';

const DATE = new Date(2026, 10, 23, 14, 5, 58);
const encode = (text: string) => new TextEncoder().encode(text);
const config = encode('{"model_type": "gpt2"}');
/** Bytes that hardly compress. */
const noise = Uint8Array.from({ length: 300_000 }, (_, i) => Math.imul(i + 1, 2654435761) >>> 24);

/** Node's own CRC-32: gzip writes it before the length at the end. */
const zlibCrc32 = (bytes: Uint8Array) => gzipSync(bytes).readUInt32LE(gzipSync(bytes).length - 8);

/** An entry whose bytes come in chunks of `size`. */
function entry(name: string, content: Uint8Array<ArrayBuffer>, size = 100_000) {
  return {
    name,
    bytes: content.length,
    async *chunks() {
      for (let from = 0; from < content.length; from += size)
        yield content.slice(from, from + size);
    },
  };
}

interface Made {
  name: string;
  content: Uint8Array;
  deflate?: boolean;
  /** Sizes after the bytes, as programs write that do not know them before. */
  later?: boolean;
  /** Written over what would be true, in the directory and before the bytes. */
  directory?: Partial<Record<'flags' | 'method' | 'crc' | 'stored' | 'size' | 'offset', number>>;
  own?: Partial<Record<'method' | 'crc' | 'stored' | 'size', number>> & { name?: string };
}

/** A .zip as other programs make them, or as nobody should. */
function pack(
  entries: Made[],
  end: { count?: number; comment?: string; bytes?: number } = {},
): Blob {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, deflate, later, directory: listed, own } of entries) {
    const data = deflate ? deflateRawSync(content) : Buffer.from(content);
    const truth = {
      flags: later ? 8 : 0,
      method: deflate ? 8 : 0,
      crc: zlibCrc32(content),
      stored: data.length,
      size: content.length,
      offset,
    };
    const there = { ...truth, ...listed };
    const here = { ...truth, ...(later ? { crc: 0, stored: 0, size: 0 } : {}), ...own };
    const bytes = Buffer.from(name);
    const called = Buffer.from(own?.name ?? name);
    const head = Buffer.alloc(HEADER.entry);
    head.writeUInt32LE(SIGNATURE.entry);
    head.writeUInt16LE(there.flags, 6);
    head.writeUInt16LE(here.method, 8);
    for (const [at, value] of [here.crc, here.stored, here.size].entries())
      head.writeUInt32LE(value, 14 + 4 * at);
    head.writeUInt16LE(called.length, 26);
    const tail = later ? Buffer.alloc(16) : Buffer.alloc(0);
    const row = Buffer.alloc(HEADER.directory);
    row.writeUInt32LE(SIGNATURE.directory);
    row.writeUInt16LE(there.flags, 8);
    row.writeUInt16LE(there.method, 10);
    for (const [at, value] of [there.crc, there.stored, there.size].entries())
      row.writeUInt32LE(value, 16 + 4 * at);
    row.writeUInt16LE(bytes.length, 28);
    row.writeUInt32LE(there.offset, 42);
    directory.push(row, bytes);
    parts.push(head, called, data, tail);
    offset += head.length + called.length + data.length + tail.length;
  }
  const list = Buffer.concat(directory);
  const last = Buffer.alloc(HEADER.end);
  last.writeUInt32LE(SIGNATURE.end);
  for (const at of [8, 10]) last.writeUInt16LE(end.count ?? entries.length, at);
  last.writeUInt32LE(end.bytes ?? list.length, 12);
  last.writeUInt32LE(offset, 16);
  last.writeUInt16LE(end.comment?.length ?? 0, 20);
  return new Blob([Buffer.concat([...parts, list, last, Buffer.from(end.comment ?? '')])]);
}

/** What is said of a .zip when one of its files is read. */
async function refusal(zip: Blob, file = 'config.json'): Promise<string> {
  const error = await zipSource('student.zip', zip)
    .read(file)
    .then(
      () => new Error('accepted'),
      (error: unknown) => error,
    );
  expect(error).toBeInstanceOf(ModelFileError);
  return (error as Error).message;
}

test('what is written is read again: names, bytes, ranges, in the folder where config.json lies', async () => {
  const told: [string, number, number][] = [];
  const zip = await writeZip(
    [
      entry('a model/config.json', config),
      entry('a model/onnx/größe.onnx', noise),
      entry('a model/empty.txt', encode('')),
    ],
    { date: DATE, onProgress: (...said) => told.push(said) },
  );
  const source = zipSource('student.zip', zip);
  expect(await readJson(source, 'config.json')).toEqual({ model_type: 'gpt2' });
  expect([await source.has('onnx/größe.onnx'), await source.has('größe.onnx')]).toEqual([
    true,
    false,
  ]);
  expect(await source.size('onnx/größe.onnx')).toBe(noise.length);
  expect(Buffer.compare(await source.read('onnx/größe.onnx'), noise)).toBe(0);
  expect([...(await source.range('onnx/größe.onnx', 99_998, 100_003))]).toEqual([
    ...noise.slice(99_998, 100_003),
  ]);
  expect((await source.read('empty.txt')).length).toBe(0);
  await expect(source.read('tokenizer.json')).rejects.toThrow(
    'tokenizer.json is not in student.zip.',
  );
  const total = config.length + noise.length;
  expect(told.map(([, written]) => written)).toEqual([
    config.length,
    ...[1e5, 2e5, 3e5].map((n) => config.length + n),
  ]);
  expect(told.at(-1)).toEqual(['a model/onnx/größe.onnx', total, total]);
});

test('the headers are the format’s: signature, version, UTF-8, time and date, CRC, sizes', async () => {
  const bytes = Buffer.from(
    await (await writeZip([entry('config.json', config)], { date: DATE })).arrayBuffer(),
  );
  const crc = zlibCrc32(config);
  expect(crc32(config)).toBe(crc);
  expect(crc32(config.subarray(5), crc32(config.subarray(0, 5)))).toBe(crc);
  // 14:05:58 in two-second units, 23 November 2026 after 1980.
  const facts = [0x0800, 0, (14 << 11) | (5 << 5) | 29, ((2026 - 1980) << 9) | (11 << 5) | 23];
  expect(bytes.readUInt32LE(0)).toBe(0x04034b50);
  expect([6, 8, 10, 12].map((at) => bytes.readUInt16LE(at))).toEqual(facts);
  expect([14, 18, 22].map((at) => bytes.readUInt32LE(at))).toEqual([
    crc,
    config.length,
    config.length,
  ]);
  const directory = HEADER.entry + 'config.json'.length + config.length;
  expect(bytes.readUInt32LE(directory)).toBe(0x02014b50);
  expect([8, 10, 12, 14].map((at) => bytes.readUInt16LE(directory + at))).toEqual(facts);
  expect([16, 20, 24].map((at) => bytes.readUInt32LE(directory + at))).toEqual([
    crc,
    config.length,
    config.length,
  ]);
  expect(bytes.length).toBe(directory + HEADER.directory + 'config.json'.length + HEADER.end);
});

test('more than 4 GiB, and entries that are not what they announced, are not written', async () => {
  const large = { ...entry('a.safetensors', config), bytes: ZIP64 - 1 };
  await expect(writeZip([large], { date: DATE })).rejects.toThrow(
    'its files have 4.00 GiB, and a .zip holds 4. Take the weights in float16.',
  );
  const short = { ...entry('a.safetensors', config), bytes: config.length + 1 };
  await expect(writeZip([short], { date: DATE })).rejects.toThrow(
    `a.safetensors has ${config.length} bytes, and ${config.length + 1} were announced.`,
  );
});

test('other programs’ .zips are read: deflated, sizes after the bytes, folders, a comment', async () => {
  const text = encode('call me ishmael '.repeat(20_000));
  const zip = pack(
    [
      { name: 'm/', content: encode('') },
      { name: 'm/config.json', content: config, deflate: true, later: true },
      { name: 'm/merges.txt', content: text, deflate: true },
      { name: 'm/model.safetensors', content: noise, deflate: true },
      { name: '__MACOSX/m/._config.json', content: encode('x') },
    ],
    { comment: 'made elsewhere' },
  );
  const source = zipSource('student.zip', zip);
  expect(await readJson(source, 'config.json')).toEqual({ model_type: 'gpt2' });
  expect(Buffer.compare(await source.read('merges.txt'), text)).toBe(0);
  expect(
    Buffer.compare(
      await source.range('model.safetensors', 1000, 200_000),
      noise.subarray(1000, 200_000),
    ),
  ).toBe(0);
  expect(await source.has('')).toBe(false);
});

test('names that are no path inside a folder are refused', async () => {
  const names = [
    '../config.json',
    'm/../../x',
    '/etc/passwd',
    'C:\\x',
    'a\\b',
    'a/./b',
    'a\0b',
    '..',
    'c:/x',
  ];
  for (const name of names) {
    const zip = pack([
      { name: 'config.json', content: config },
      { name, content: config },
    ]);
    expect(await refusal(zip), name).toBe(
      `student.zip: ${JSON.stringify(name)} is no path inside a folder. Pack the folder again, or drop the folder itself.`,
    );
  }
  const twice = pack([
    { name: 'config.json', content: config },
    { name: 'config.json', content: config },
  ]);
  expect(await refusal(twice)).toContain('"config.json" is in it twice');
});

test('sizes that lie are refused by the entry’s name, before anything large is made of them', async () => {
  const bomb = new Uint8Array(3_000_000);
  const said = (made: Partial<Made>) =>
    refusal(
      pack([
        { name: 'config.json', content: config },
        { name: 'x', content: noise, ...made },
      ]),
      'x',
    );
  expect(await said({ directory: { size: 12 } })).toContain(
    '"x" has 300,000 bytes, and 12 where it says how long it is',
  );
  expect(await said({ directory: { stored: 400_000, size: 400_000 } })).toContain(
    'x has 400,000 bytes by its list, and the .zip no room for them there',
  );
  expect(await said({ own: { stored: 12 } })).toContain(
    'x says something else of itself than the list of entries does',
  );
  expect(await said({ own: { name: 'y' } })).toContain('x calls itself "y"');
  expect(await said({ own: { name: 'config.json is longer' } })).toContain(
    'x calls itself "config.json is longer"',
  );
  expect(
    await said({ content: bomb, deflate: true, directory: { size: 5000 }, own: { size: 5000 } }),
  ).toContain('x unpacks to more than 5,000 bytes');
  const more = { size: bomb.length + 500 };
  expect(await said({ content: bomb, deflate: true, directory: more, own: more })).toContain(
    'x unpacks to 3,000,000 of 3,000,500 bytes',
  );
  expect(await said({ deflate: true, directory: { size: 4e9 } })).toContain('which none can');
});

test('damage, encryption, other methods, other forms and too many entries are refused by name', async () => {
  const said = (made: Partial<Made>) =>
    refusal(
      pack([
        { name: 'config.json', content: config },
        { name: 'x', content: noise, ...made },
      ]),
      'x',
    );
  expect(await said({ directory: { crc: 1 }, own: { crc: 1 } })).toContain(
    'x is damaged: its CRC-32 is another',
  );
  expect(await said({ directory: { flags: 1 } })).toContain('"x" is encrypted');
  expect(await said({ directory: { method: 14 } })).toContain(
    '"x" is packed by method 14; readable are 0 (stored)',
  );
  // Noise taken for deflated bytes.
  expect(await said({ directory: { method: 8 }, own: { method: 8 } })).toContain(
    'x cannot be unpacked after',
  );
  expect(await said({ directory: { offset: ZIP64 } })).toContain(
    '"x" is in the format for more than 4 GiB',
  );

  const good = Buffer.from(await pack([{ name: 'config.json', content: config }]).arrayBuffer());
  expect(await refusal(new Blob([good.subarray(0, 60)]))).toContain(
    '60 bytes without the end of a .zip',
  );
  expect(await refusal(new Blob([]))).toContain('0 bytes without the end of a .zip');
  expect(await refusal(new Blob([encode('<!doctype html>'.repeat(10))]))).toContain(
    'it is cut short, or none',
  );
  expect(await refusal(new Blob(['more', good]))).toContain(
    'its list of entries is not where its end says',
  );
  const many = Array.from({ length: 1001 }, (_, i) => ({ name: `f${i}`, content: encode('') }));
  expect(await refusal(pack(many))).toContain('it has 1,001 entries, and a model has at most 1000');
  expect(await refusal(pack([{ name: 'config.json', content: config }], { count: 2 }))).toContain(
    'entry 2 of 2 is not in its list',
  );
  expect(await refusal(pack([{ name: 'readme.md', content: config }]))).toContain(
    'there is no config.json among its 1 entries',
  );
});
