// A text from bytes and its held-out part: what is taken, and what each bad file is told.

import { describe, expect, test } from 'vitest';
import { CorpusError, decodeCorpus, MAX_CORPUS_BYTES, splitCorpus } from '../../src/data/corpus';

const utf8 = (text: string) => new TextEncoder().encode(text);

describe('decodeCorpus', () => {
  test('takes UTF-8, drops the byte order mark, makes line breaks one kind', () => {
    expect(decodeCorpus('a.txt', utf8('Wal 鯨 🐋\n'))).toBe('Wal 鯨 🐋\n');
    expect(decodeCorpus('a.txt', utf8('\uFEFFone\r\ntwo\rthree').buffer)).toBe('one\ntwo\nthree');
  });

  test.each([
    ['no bytes', ''],
    ['white space', ' \n\t\n'],
    ['a mark alone', '\uFEFF'],
  ])('refuses %s', (_, text) => {
    expect(() => decodeCorpus('a.txt', utf8(text))).toThrow(`a.txt: no text in it (${utf8(text).length} bytes).`);
    expect(() => decodeCorpus('a.txt', utf8(text))).toThrow(CorpusError);
  });

  test.each([
    ['a lone byte', [0x61, 0xff, 0x62], 'byte 1 is 0xff, of 3 bytes'],
    ['Latin-1', [0x63, 0x61, 0x66, 0xe9, 0x20, 0x61], 'byte 4 is 0x20, of 6 bytes'],
    ['UTF-16', [0xff, 0xfe, 0x61, 0x00], 'byte 0 is 0xff, of 4 bytes'],
    ['a surrogate', [0x61, 0xed, 0xa0, 0x80], 'byte 2 is 0xa0, of 4 bytes'],
    ['a cut character', [0x61, 0xe9, 0xaf], 'the last character is cut short, of 3 bytes'],
  ])('refuses %s and says where', (_, bytes, where) => {
    expect(() => decodeCorpus('a.txt', Uint8Array.from(bytes))).toThrow(`a.txt: not UTF-8 (${where}).`);
  });

  test('finds one bad byte in 19 MB', () => {
    const bytes = new Uint8Array(19_000_000).fill(0x61);
    bytes[17_654_321] = 0x80;
    expect(() => decodeCorpus('a.txt', bytes)).toThrow('byte 17654321 is 0x80');
  });

  test('refuses 50 MB with both sizes, and takes the largest size', () => {
    expect(() => decodeCorpus('big.txt', new Uint8Array(50_000_000))).toThrow(
      'big.txt: 50 MB, and at most 20 MB can be used.',
    );
    expect(decodeCorpus('a.txt', new Uint8Array(MAX_CORPUS_BYTES).fill(0x61)).length).toBe(MAX_CORPUS_BYTES);
  });

  test('an error carries what can be done next', () => {
    try {
      decodeCorpus('a.txt', new Uint8Array(0));
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({
        name: 'CorpusError',
        operation: 'read the corpus',
        hint: 'Choose a file with text.',
      });
    }
  });
});

describe('splitCorpus', () => {
  const tokens = Uint32Array.from({ length: 1000 }, (_, i) => i);

  test('keeps the last tenth, shares no token, loses none', () => {
    const { train, heldOut } = splitCorpus(tokens, { contextLength: 64 });
    expect([train.length, heldOut.length]).toEqual([900, 100]);
    expect([...train, ...heldOut]).toEqual([...tokens]);
  });

  test('takes another share', () => {
    expect(splitCorpus(tokens, { contextLength: 64, heldOutFraction: 0.5 }).heldOut[0]).toBe(500);
  });

  test('one window in each part is enough, one token less is not', () => {
    expect(splitCorpus(tokens, { contextLength: 99 }).heldOut.length).toBe(100);
    expect(() => splitCorpus(tokens, { contextLength: 100 })).toThrow(
      '1000 tokens are too few: 900 for training and 100 held out, ' +
        'where each part needs a context of 100 and one more, 101.',
    );
    expect(() => splitCorpus(tokens, { contextLength: 200, heldOutFraction: 0.9 })).toThrow(
      /100 for training and 900 held out/,
    );
    expect(() => splitCorpus(new Uint32Array(0), { contextLength: 2 })).toThrow(CorpusError);
  });

  test('the length that the hint asks for is enough', () => {
    const enough = 1010;
    expect(() => splitCorpus(tokens, { contextLength: 100 })).toThrow(
      expect.objectContaining({ hint: `Use a text of ${enough} tokens or more, or a shorter context.` }),
    );
    expect(splitCorpus(new Uint32Array(enough), { contextLength: 100 }).heldOut.length).toBe(101);
  });

  test.each([0, 1, -0.1, NaN])('refuses a share of %s', (heldOutFraction) => {
    expect(() => splitCorpus(tokens, { contextLength: 8, heldOutFraction })).toThrow(RangeError);
  });
});
