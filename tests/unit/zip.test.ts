// The .zip files that students are exported to and models are read from: our own, those of other
// programs, damaged and hostile ones.

import { expect, test } from 'vitest';
import { crc32 } from '../../src/files/crc32';
import { ModelFileError } from '../../src/files/download';
import { readJson } from '../../src/files/source';
import { zipSource } from '../../src/files/unzip';
import { HEADER, writeZip, ZIP64 } from '../../src/files/zip';
import { type PackedEntry, pack, zlibCrc32 } from '../zip-fixture';

const DATE = new Date(2026, 10, 23, 14, 5, 58);
const OPTIONS = { what: 'The student', instead: 'Export in float16.', date: DATE };
const encode = (text: string) => new TextEncoder().encode(text);
const config = encode('{"model_type": "gpt2"}');
/** Bytes that barely compress. */
const noise = Uint8Array.from({ length: 300_000 }, (_, i) => Math.imul(i + 1, 2654435761) >>> 24);

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

/** The error when a file of the .zip is read. */
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

test('a written .zip is read back: names, bytes and ranges beside config.json', async () => {
  const reports: [string, number, number][] = [];
  const zip = await writeZip(
    [
      entry('a model/config.json', config),
      entry('a model/onnx/größe.onnx', noise),
      entry('a model/empty.txt', encode('')),
    ],
    { ...OPTIONS, onProgress: (...report) => reports.push(report) },
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
  expect(reports.map(([, written]) => written)).toEqual([
    config.length,
    ...[1e5, 2e5, 3e5].map((n) => config.length + n),
  ]);
  expect(reports.at(-1)).toEqual(['a model/onnx/größe.onnx', total, total]);
});

test('the headers follow the format: signature, UTF-8, time and date, CRC, sizes', async () => {
  const bytes = Buffer.from(
    await (await writeZip([entry('config.json', config)], OPTIONS)).arrayBuffer(),
  );
  const crc = zlibCrc32(config);
  expect(crc32(config)).toBe(crc);
  expect(crc32(config.subarray(5), crc32(config.subarray(0, 5)))).toBe(crc);
  // 14:05:58 in two-second units, 23 November 2026 after 1980.
  const fields = [0x0800, 0, (14 << 11) | (5 << 5) | 29, ((2026 - 1980) << 9) | (11 << 5) | 23];
  expect(bytes.readUInt32LE(0)).toBe(0x04034b50);
  expect([6, 8, 10, 12].map((at) => bytes.readUInt16LE(at))).toEqual(fields);
  expect([14, 18, 22].map((at) => bytes.readUInt32LE(at))).toEqual([
    crc,
    config.length,
    config.length,
  ]);
  const directory = HEADER.entry + 'config.json'.length + config.length;
  expect(bytes.readUInt32LE(directory)).toBe(0x02014b50);
  expect([8, 10, 12, 14].map((at) => bytes.readUInt16LE(directory + at))).toEqual(fields);
  expect([16, 20, 24].map((at) => bytes.readUInt32LE(directory + at))).toEqual([
    crc,
    config.length,
    config.length,
  ]);
  expect(bytes.length).toBe(directory + HEADER.directory + 'config.json'.length + HEADER.end);
});

test('files over 4 GiB and entries of another length than announced are refused', async () => {
  const large = { ...entry('a.safetensors', config), bytes: ZIP64 - 1 };
  await expect(writeZip([large], OPTIONS)).rejects.toThrow(
    'The student has 4.00 GiB, but a .zip holds 4. Export in float16.',
  );
  const short = { ...entry('a.safetensors', config), bytes: config.length + 1 };
  await expect(writeZip([short], OPTIONS)).rejects.toThrow(
    `a.safetensors has ${config.length} bytes, but ${config.length + 1} were announced.`,
  );
});

test('reads other programs’ .zips: deflated, with late sizes, folders and a comment', async () => {
  const text = encode('call me ishmael '.repeat(20_000));
  const zip = pack(
    [
      { name: 'm/', content: encode('') },
      { name: 'm/config.json', content: config, deflate: true, sizesLater: true },
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

test('names that are not a path inside a folder are refused', async () => {
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
      `student.zip: ${JSON.stringify(name)} is not a path inside a folder. ` +
        'Pack the folder again, or drop the folder itself.',
    );
  }
  const twice = pack([
    { name: 'config.json', content: config },
    { name: 'config.json', content: config },
  ]);
  expect(await refusal(twice)).toContain('"config.json" is in it twice');
});

test('false sizes are refused, naming the entry, before anything large is allocated', async () => {
  const bomb = new Uint8Array(3_000_000);
  const refusalOf = (changes: Partial<PackedEntry>) =>
    refusal(
      pack([
        { name: 'config.json', content: config },
        { name: 'x', content: noise, ...changes },
      ]),
      'x',
    );
  expect(await refusalOf({ directory: { size: 12 } })).toContain(
    '"x" has 300,000 bytes, but claims to unpack to 12',
  );
  expect(await refusalOf({ directory: { stored: 400_000, size: 400_000 } })).toContain(
    'x has 400,000 bytes in the directory, and no room for them',
  );
  expect(await refusalOf({ header: { stored: 12 } })).toContain(
    'x has a header that contradicts the directory',
  );
  expect(await refusalOf({ header: { name: 'y' } })).toContain('x is named "y" in its header');
  expect(await refusalOf({ header: { name: 'config.json is longer' } })).toContain(
    'x is named "config.json is longer" in its header',
  );
  expect(
    await refusalOf({
      content: bomb,
      deflate: true,
      directory: { size: 5000 },
      header: { size: 5000 },
    }),
  ).toContain('x unpacks to more than 5,000 bytes');
  const more = { size: bomb.length + 500 };
  expect(
    await refusalOf({ content: bomb, deflate: true, directory: more, header: more }),
  ).toContain('x unpacks to 3,000,000 of 3,000,500 bytes');
  expect(await refusalOf({ deflate: true, directory: { size: 4e9 } })).toContain(
    'which is impossible',
  );
});

test('damage, encryption, unknown methods and too many entries are refused', async () => {
  const refusalOf = (changes: Partial<PackedEntry>) =>
    refusal(
      pack([
        { name: 'config.json', content: config },
        { name: 'x', content: noise, ...changes },
      ]),
      'x',
    );
  expect(await refusalOf({ directory: { crc: 1 }, header: { crc: 1 } })).toContain(
    'x is damaged: its CRC-32 does not match',
  );
  expect(await refusalOf({ directory: { flags: 1 } })).toContain('"x" is encrypted');
  expect(await refusalOf({ directory: { method: 14 } })).toContain(
    '"x" is packed with method 14; only 0 (stored)',
  );
  // Noise read as deflated bytes.
  expect(await refusalOf({ directory: { method: 8 }, header: { method: 8 } })).toContain(
    'x cannot be unpacked after',
  );
  expect(await refusalOf({ directory: { offset: ZIP64 } })).toContain(
    '"x" is in the format for more than 4 GiB',
  );

  const good = Buffer.from(await pack([{ name: 'config.json', content: config }]).arrayBuffer());
  expect(await refusal(new Blob([good.subarray(0, 60)]))).toContain(
    '60 bytes without the end of a .zip',
  );
  expect(await refusal(new Blob([]))).toContain('0 bytes without the end of a .zip');
  expect(await refusal(new Blob([encode('<!doctype html>'.repeat(10))]))).toContain(
    'incomplete, or not a .zip',
  );
  expect(await refusal(new Blob(['more', good]))).toContain(
    'its directory is not where its end record says',
  );
  const many = Array.from({ length: 1001 }, (_, i) => ({ name: `f${i}`, content: encode('') }));
  expect(await refusal(pack(many))).toContain('it has 1,001 entries; at most 1000 are supported');
  expect(await refusal(pack([{ name: 'config.json', content: config }], { count: 2 }))).toContain(
    'entry 2 of 2 is missing from its directory',
  );
  expect(await refusal(pack([{ name: 'readme.md', content: config }]))).toContain(
    'there is no config.json among its 1 entries',
  );
});

test('a bomb is refused before it is unpacked', async () => {
  const zeros = new Uint8Array(70_000_000);
  const zip = pack([
    { name: 'config.json', content: config },
    { name: 'tokenizer.json', content: zeros, deflate: true },
  ]);
  expect(zip.size).toBeLessThan(100_000);
  expect(await refusal(zip)).toMatch(
    /^student\.zip: "tokenizer\.json" would unpack from [\d,]+ to 70,000,000 bytes/,
  );
});
