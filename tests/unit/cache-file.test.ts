// The file of a teacher's cache: it reads back what was written; a file that belongs to another
// run, or is incomplete, cut or hostile, is refused with the reason; a storage that is too small is
// reported with both sizes.

import { beforeEach, describe, expect, it } from 'vitest';
import { BatchIndex } from '../../src/distill/teacher/batch-index';
import {
  CacheError,
  CacheFile,
  type CacheIdentity,
  type CacheSummary,
  cacheBytes,
} from '../../src/distill/teacher/cache-file';
import { entrySize } from '../../src/kernels/topk';
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
const SUMMARY: CacheSummary = {
  parameters: 7,
  sample: 'swims',
  perplexity: 12.5,
  kl: { full: 0.5, kept: 0.25 },
  seconds: 1.5,
};
const HEADER_BYTES = cacheBytes({ ...IDENTITY, trainBatches: 0, heldOutBatches: 0 });

/** Entries of six positions, all valid. */
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
  summary = SUMMARY,
): Promise<CacheFile> {
  return CacheFile.create(storage, identity, async (file) => {
    for (let index = 0; index < 4; index++) await file.write(index, batch(index, identity));
    return summary;
  });
}

/** The file as version 1 wrote it: nothing behind the entries or the header. */
function asVersion1(storage: MemoryStorage): void {
  storage.bytes = storage.bytes.slice(0, HEADER_BYTES + 4 * batch(0).byteLength);
  storage.bytes[7] = '1'.charCodeAt(0);
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
    'with k = %i of 100 tokens reads back batch by batch, with its summary',
    async (k) => {
      const identity = { ...IDENTITY, k };
      await written(storage, identity);
      expect(storage.bytes.length).toBe(cacheBytes(identity));
      expect(cacheBytes(identity) - HEADER_BYTES).toBe(4 * (6 * 4 * entrySize(identity) + 32));
      const file = await CacheFile.open(storage, { ...identity });
      expect(file.summary).toEqual(SUMMARY);
      for (const index of [3, 0, 2, 1])
        expect(await file.read(index)).toEqual(batch(index, identity));
    },
  );

  it('has 4 bytes for the tail and 4 a token, 6 with wide ids; 2 a token if all are cached', () => {
    expect(entrySize({ V: 50257, k: 64 })).toBe(1 + 32 + 32);
    expect(entrySize({ V: 65537, k: 64 })).toBe(1 + 32 + 64);
    expect(entrySize({ V: 50257, k: 50257 })).toBe(25129);
  });

  it.each(Object.keys(IDENTITY) as (keyof CacheIdentity)[])(
    'is refused for a run with another %s',
    async (name) => {
      await written(storage);
      const value = IDENTITY[name];
      const other = {
        ...IDENTITY,
        [name]: typeof value === 'number' ? value + 1 : `${value}x`,
      } as CacheIdentity;
      const { kind, message } = await refusal(CacheFile.open(storage, other));
      expect(kind).toBe('other');
      const shown = (part: unknown) =>
        typeof part === 'string' ? JSON.stringify(part) : String(part);
      expect(message).toContain(`${shown(value)}, not ${shown(other[name])}`);
    },
  );
});

describe('a file that is no complete cache', () => {
  it('is absent if nothing was written', async () => {
    expect((await refusal(CacheFile.open(storage, IDENTITY))).kind).toBe('absent');
  });

  it('was interrupted before its header', async () => {
    const broken = CacheFile.create(storage, IDENTITY, async (file) => {
      for (let index = 0; index < 4; index++) await file.write(index, batch(index));
      throw new Error('the tab was closed');
    });
    await expect(broken).rejects.toThrow('the tab was closed');
    const { kind, message } = await refusal(CacheFile.open(storage, IDENTITY));
    expect(kind).toBe('damaged');
    expect(message).toContain('writing it was interrupted');
  });

  it.each([
    [
      'a byte short',
      (bytes: Uint8Array<ArrayBuffer>) => bytes.slice(0, -1),
      /has \d+ bytes instead of \d+/,
    ],
    [
      'a byte long',
      (bytes: Uint8Array<ArrayBuffer>) => Uint8Array.from([...bytes, 0]),
      /bytes instead of \d+/,
    ],
    ['cut in its header', (bytes: Uint8Array<ArrayBuffer>) => bytes.slice(0, 100), /no header/],
    ['of another kind', (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(0x3c, 0, 8), /no header/],
    [
      'with a header that claims too much',
      (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(0xff, 8, 12),
      /claims 4294967295/,
    ],
    [
      'with a header that is not JSON',
      (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(0x7b, 12, 20),
      /not valid JSON/,
    ],
    [
      'with a header that is not UTF-8',
      (bytes: Uint8Array<ArrayBuffer>) => bytes.fill(0xff, 12, 20),
      /not valid JSON/,
    ],
  ])('%s', async (_, damage, says) => {
    await written(storage);
    asVersion1(storage);
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
    { identity: null, told: SUMMARY },
    { identity: IDENTITY, told: { ...SUMMARY, seconds: 'long' } },
    { identity: IDENTITY, told: { ...SUMMARY, kl: { full: 1 } } },
    { identity: IDENTITY, told: { ...SUMMARY, sample: 5 } },
  ])('with the header %j', async (header) => {
    await written(storage);
    asVersion1(storage);
    const text = new TextEncoder().encode(JSON.stringify(header));
    new DataView(storage.bytes.buffer).setUint32(8, text.length, true);
    storage.bytes.set(text, 12);
    const { kind, message } = await refusal(CacheFile.open(storage, IDENTITY));
    expect([kind, message]).toEqual(['damaged', expect.stringContaining('lacks required fields')]);
  });
});

describe('an entry that no teacher can have produced', () => {
  const SIZE = entrySize(IDENTITY);
  const half = (bits: number, at: number) => (entries: Uint32Array<ArrayBuffer>) => {
    new Uint16Array(entries.buffer)[at] = bits;
  };
  it.each([
    ['an infinite logit', half(0xfc00, 2), /position 0 of batch 1 has a logit that is not finite/],
    ['a logit that is NaN', half(0x7e00, 4), /has a logit that is not finite/],
    ['a logit above the largest', half(0x3c00, 3), /exceeds the largest/],
    ['an id twice', half(1, 2 + 6 + 1), /has token 1 after 1/],
    ['an id out of order', half(0, 2 + 6 + 1), /has token 0 after 1/],
    [
      'an id beyond the vocabulary',
      half(100, 2 + 6 + 4),
      /has token 100 after \d+ in a vocabulary of 100/,
    ],
    [
      'a tail that is NaN',
      (entries: Uint32Array) => void (entries[SIZE] = 0x7fc00000),
      /position 1 .* a tail of NaN/,
    ],
    [
      'a tail of more than all tokens',
      (entries: Uint32Array) => void (entries[0] = 0x42c80000),
      /a tail of 100/,
    ],
  ])('%s: refused by read and by write', async (_, damage, says) => {
    await written(storage);
    asVersion1(storage);
    const file = await CacheFile.open(storage, IDENTITY);
    const entries = batch(1);
    damage(entries);
    storage.bytes.set(new Uint8Array(entries.buffer), HEADER_BYTES + entries.byteLength);
    const { kind, message } = await refusal(file.read(1));
    expect(kind).toBe('damaged');
    expect(message).toMatch(says);
    expect((await refusal(file.write(1, entries))).message).toMatch(says);
    expect(await file.read(0)).toEqual(batch(0));
  });
});

it('has a checksum for each batch and for its header: a flipped bit is found', async () => {
  const flips = async (at: number) => {
    await written(storage);
    storage.bytes[at] ^= 1;
    const file = await CacheFile.open(storage, IDENTITY);
    await file.read(0);
    return file.read(1);
  };
  // The bit of a logit in the second batch: a valid number, and another one.
  const inBatch = HEADER_BYTES + batch(0).byteLength + 6;
  const refused = await refusal(flips(inBatch));
  expect(refused).toMatchObject({ kind: 'damaged', message: expect.stringContaining('batch 1') });
  // So the next run writes another.
  expect((await refusal(CacheFile.open(storage, IDENTITY))).message).toContain('no header');
  expect((await refusal(flips(20))).message).toContain('its header does not match');
  const last = cacheBytes(IDENTITY) - 1;
  expect((await refusal(flips(last))).message).toContain('its checksums do not match');
});

it('of version 1, without checksums, is still read', async () => {
  await written(storage);
  asVersion1(storage);
  const file = await CacheFile.open(storage, IDENTITY);
  expect(file.summary).toEqual(SUMMARY);
  for (const index of [3, 0, 2, 1]) expect(await file.read(index)).toEqual(batch(index));
});

describe('a storage that is too small', () => {
  it('is reported before anything is written, with both sizes, if it knows its room', async () => {
    Object.assign(storage, { capacity: 66_000, knowsRoom: true });
    const { kind, message } = await refusal(written(storage));
    expect(kind).toBe('full');
    expect(message).toMatch(/needs 0\.1 MB; there is room for 0\.1 MB/);
    expect(storage.bytes.length).toBe(0);
  });

  it('is reported when it fills up', async () => {
    storage.capacity = HEADER_BYTES + 2.5 * batch(0).byteLength;
    expect((await refusal(written(storage))).kind).toBe('full');
  });
});

describe('the index of batches', () => {
  const of = (index: number, ...ids: number[]) => ({
    index,
    inputs: Uint32Array.from(ids),
    targets: Int32Array.from(ids),
  });
  const batches = [of(0, 1, 2), of(1, 2, 1), of(2, 1, 2, 0), of(3, 0, 1, 2)];
  const heldOut = [of(0, 1, 2), of(1, 9, 9)];
  const index = new BatchIndex({ count: 4, at: (i) => batches[i], heldOut });

  it('places training batches first, in their order', () => {
    for (const [i, batch] of batches.entries()) expect(index.place('training', batch)).toBe(i);
  });

  it('places held-out batches after them', () => {
    expect(heldOut.map((batch) => index.place('held-out', batch))).toEqual([4, 5]);
  });

  it('refuses a batch that the file does not hold: beyond the last, or of other tokens', () => {
    const refused = (split: 'training' | 'held-out', batch: ReturnType<typeof of>) => {
      expect(() => index.place(split, batch)).toThrow(CacheError);
      expect(() => index.place(split, batch)).toThrow(
        `does not hold ${split} batch ${batch.index}.`,
      );
    };
    refused('training', of(1, 9, 9));
    refused('training', of(0, 2, 2));
    refused('training', of(4, 1, 2));
    refused('held-out', of(0, 2, 1));
    refused('held-out', of(2, 9, 9));
  });

  it('has a fingerprint of all tokens, which depends on each token and the order', () => {
    const tokens = (all: typeof batches) =>
      new BatchIndex({ count: all.length, at: (i) => all[i], heldOut: [] }).tokens;
    expect(tokens(batches)).toBe(tokens([...batches]));
    const others = [batches.slice(1), [...batches].reverse(), [of(0, 1, 3), ...batches.slice(1)]];
    expect(new Set([batches, ...others].map(tokens)).size).toBe(4);
  });
});
