// The file of a teacher's cache: what is written comes back; a file of another run, a broken-off,
// cut or hostile one is refused by what is wrong with it; a storage that is too small is told with
// both sizes.

import { beforeEach, describe, expect, it } from 'vitest';
import {
  CacheError,
  CacheFile,
  type CacheIdentity,
  type CacheTold,
  cacheBytes,
} from '../../src/distill/teacher/cache-file';
import { BatchIndex } from '../../src/distill/teacher/cached';
import { entryWords } from '../../src/kernels/topk';
import { packEntry } from '../../src/reference/topk';
import { type MemoryStorage, memoryStorage } from '../memory-storage';

const IDENTITY: CacheIdentity = {
  teacher: 'org/name@main',
  dtype: 'f16',
  V: 100,
  k: 5,
  temperature: 2,
  batchSize: 2,
  contextLength: 3,
  trainBatches: 3,
  heldOutBatches: 1,
  tokens: '0123456789abcdef',
  prompt: 'The whale',
  sampleTokens: 4,
};
const TOLD: CacheTold = {
  parameters: 7,
  sample: 'swims',
  perplexity: 12.5,
  kl: { full: 0.5, kept: 0.25 },
  seconds: 1.5,
};
const HEADER_BYTES = cacheBytes({ ...IDENTITY, trainBatches: 0, heldOutBatches: 0 });

/** Six positions that a teacher could have said. */
function batch(
  salt: number,
  { V, k }: Pick<CacheIdentity, 'V' | 'k'> = IDENTITY,
): Uint32Array<ArrayBuffer> {
  const entries = Array.from({ length: 6 }, (_, row) => {
    const ids =
      k === V
        ? Array.from({ length: V }, (_, v) => v)
        : Array.from({ length: k }, (_, j) => j * 7 + row + salt);
    return packEntry({ ids, values: ids.map((_, j) => -j / 4), tail: -1 - salt }, V);
  });
  return Uint32Array.from(entries.flatMap((entry) => [...entry]));
}

async function written(
  storage: MemoryStorage,
  identity = IDENTITY,
  told = TOLD,
): Promise<CacheFile> {
  return CacheFile.create(storage, identity, async (file) => {
    for (let index = 0; index < 4; index++) await file.write(index, batch(index, identity));
    return told;
  });
}

let storage: MemoryStorage;
beforeEach(() => {
  storage = memoryStorage();
});

const refusal = async (work: Promise<unknown>): Promise<CacheError> => {
  const error = await work.then(
    () => undefined,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(CacheError);
  return error;
};

describe('a cache that was written', () => {
  it.each([5, 100])(
    'with k = %i of 100 words comes back, batch by batch, with what the teacher told',
    async (k) => {
      const identity = { ...IDENTITY, k };
      await written(storage, identity);
      expect(storage.bytes.length).toBe(cacheBytes(identity));
      expect(cacheBytes(identity) - HEADER_BYTES).toBe(4 * 6 * 4 * entryWords(identity));
      const file = await CacheFile.open(storage, { ...identity });
      expect(file.told).toEqual(TOLD);
      for (const index of [3, 0, 2, 1])
        expect(await file.read(index)).toEqual(batch(index, identity));
    },
  );

  it('takes 4 bytes a word of a small or large vocabulary, and 4 for the rest, half of that where ids fit into 16 bits', () => {
    expect(entryWords({ V: 50257, k: 64 })).toBe(1 + 32 + 32);
    expect(entryWords({ V: 65537, k: 64 })).toBe(1 + 32 + 64);
    expect(entryWords({ V: 50257, k: 50257 })).toBe(25129);
  });

  it.each(Object.keys(IDENTITY) as (keyof CacheIdentity)[])(
    'is refused for a run of another %s',
    async (name) => {
      await written(storage);
      const value = IDENTITY[name];
      const other = {
        ...IDENTITY,
        [name]: typeof value === 'number' ? value + 1 : `${value}x`,
      } as CacheIdentity;
      const { kind, message } = await refusal(CacheFile.open(storage, other));
      expect(kind).toBe('other');
      const shown = (given: unknown) =>
        typeof given === 'string' ? JSON.stringify(given) : String(given);
      expect(message).toContain(`${shown(value)}, not ${shown(other[name])}`);
    },
  );
});

describe('a file that is no whole cache', () => {
  it('is absent where nothing was written', async () => {
    expect((await refusal(CacheFile.open(storage, IDENTITY))).kind).toBe('absent');
  });

  it('was broken off before its header', async () => {
    const broken = CacheFile.create(storage, IDENTITY, async (file) => {
      for (let index = 0; index < 4; index++) await file.write(index, batch(index));
      throw new Error('the tab was closed');
    });
    await expect(broken).rejects.toThrow('the tab was closed');
    expect(storage.bytes.length).toBe(cacheBytes(IDENTITY));
    const { kind, message } = await refusal(CacheFile.open(storage, IDENTITY));
    expect(kind).toBe('damaged');
    expect(message).toContain('writing it was broken off');
  });

  it.each([
    [
      'a byte short',
      (bytes: Uint8Array<ArrayBuffer>) => bytes.slice(0, -1),
      /has \d+ bytes, and \d+ would be whole/,
    ],
    [
      'a byte long',
      (bytes: Uint8Array<ArrayBuffer>) => Uint8Array.from([...bytes, 0]),
      /would be whole/,
    ],
    ['cut in its header', (bytes: Uint8Array<ArrayBuffer>) => bytes.slice(0, 100), /no header/],
    ['of some other kind', (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(0x3c, 0, 8), /no header/],
    [
      'of a header that claims too much',
      (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(0xff, 8, 12),
      /claims 4294967295/,
    ],
    [
      'of a header that is no JSON',
      (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(0x7b, 12, 20),
      /no JSON/,
    ],
    [
      'of a header that is no UTF-8',
      (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(0xff, 12, 20),
      /no JSON/,
    ],
  ])('%s', async (_, damage, says) => {
    await written(storage);
    storage.bytes = damage(storage.bytes);
    const { kind, message } = await refusal(CacheFile.open(storage, IDENTITY));
    expect(kind).toBe('damaged');
    expect(message).toMatch(says);
  });

  it.each([
    null,
    7,
    {},
    { identity: IDENTITY },
    { identity: null, told: TOLD },
    { identity: IDENTITY, told: { ...TOLD, seconds: 'long' } },
    { identity: IDENTITY, told: { ...TOLD, kl: { full: 1 } } },
    { identity: IDENTITY, told: { ...TOLD, sample: 5 } },
  ])('of a header that says %j', async (header) => {
    await written(storage);
    const text = new TextEncoder().encode(JSON.stringify(header));
    new DataView(storage.bytes.buffer).setUint32(8, text.length, true);
    storage.bytes.set(text, 12);
    const { kind, message } = await refusal(CacheFile.open(storage, IDENTITY));
    expect([kind, message]).toEqual([
      'damaged',
      expect.stringContaining('lacks what a cache says of itself'),
    ]);
  });
});

describe('an entry that no teacher said', () => {
  const WORDS = entryWords(IDENTITY);
  const half = (bits: number, at: number) => (words: Uint32Array<ArrayBuffer>) => {
    new Uint16Array(words.buffer)[at] = bits;
  };
  it.each([
    ['an infinite value', half(0xfc00, 2), /position 0 of batch 1 has a value/],
    ['a value that is no number', half(0x7e00, 4), /has a value/],
    ['a value above the largest', half(0x3c00, 3), /has a value/],
    ['an id twice', half(1, 2 + 6 + 1), /names word 1 after 1/],
    ['an id out of order', half(0, 2 + 6 + 1), /names word 0 after 1/],
    ['an id beyond the vocabulary', half(100, 2 + 6 + 4), /names word 100 after \d+, of 100/],
    [
      'a rest that is no number',
      (words: Uint32Array) => void (words[WORDS] = 0x7fc00000),
      /position 1 .* a rest of NaN/,
    ],
    [
      'a rest of more than everything',
      (words: Uint32Array) => void (words[0] = 0x42c80000),
      /a rest of 100/,
    ],
  ])('%s: refused when it is read, and when it is written', async (_, damage, says) => {
    const file = await written(storage);
    const words = batch(1);
    damage(words);
    storage.bytes.set(new Uint8Array(words.buffer), HEADER_BYTES + words.byteLength);
    const { kind, message } = await refusal(file.read(1));
    expect(kind).toBe('damaged');
    expect(message).toMatch(says);
    expect((await refusal(file.write(1, words))).message).toMatch(says);
    expect(await file.read(0)).toEqual(batch(0));
  });
});

describe('a storage that is too small', () => {
  it('is told before anything is written, with both sizes, where it knows its room', async () => {
    Object.assign(storage, { capacity: 66_000, knowsRoom: true });
    const { kind, message } = await refusal(written(storage));
    expect(kind).toBe('full');
    expect(message).toMatch(/needs 0\.1 MB; there is room for 0\.1 MB/);
    expect(storage.bytes.length).toBe(0);
  });

  it('is told where it fills up', async () => {
    storage.capacity = HEADER_BYTES + 2.5 * batch(0).byteLength;
    expect((await refusal(written(storage))).kind).toBe('full');
  });
});

describe('which batch is asked for', () => {
  const of = (...ids: number[]) => ({
    inputs: Uint32Array.from(ids),
    targets: Int32Array.from(ids),
  });
  const batches = [of(1, 2), of(2, 1), of(1, 2, 0), of(0, 1, 2)];
  const index = new BatchIndex({ count: 4, at: (i) => batches[i], heldOut: [of(1, 2), of(9, 9)] });

  it('shows in its tokens and their order', () => {
    for (const [i, { inputs }] of batches.entries()) expect(index.find('train', inputs)).toBe(i);
  });

  it('is another in training and in evaluation', () => {
    expect(index.find('heldOut', of(1, 2).inputs)).toBe(4);
    expect(index.find('heldOut', of(9, 9).inputs)).toBe(5);
  });

  it('is refused where it was not announced', () => {
    expect(() => index.find('train', of(9, 9).inputs)).toThrow(CacheError);
    expect(() => index.find('train', of(2, 2).inputs)).toThrow('no such batch');
  });

  it('changes the fingerprint of all tokens', () => {
    const tokens = (all: typeof batches) =>
      new BatchIndex({ count: all.length, at: (i) => all[i], heldOut: [] }).tokens;
    expect(tokens(batches)).toBe(tokens([...batches]));
    const changed = [batches.slice(1), [...batches].reverse(), [of(1, 3), ...batches.slice(1)]].map(
      tokens,
    );
    expect(new Set([tokens(batches), ...changed]).size).toBe(4);
  });
});
