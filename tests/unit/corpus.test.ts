// Decoding a text file: what is accepted, and the error for each kind of bad file.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CorpusError, decodeCorpus, MAX_CORPUS_BYTES } from '../../src/data/corpus';

const utf8 = (text: string) => new TextEncoder().encode(text);

describe('decodeCorpus', () => {
  test('accepts UTF-8, drops the byte order mark, normalises line breaks', () => {
    expect(decodeCorpus('a.txt', utf8('Wal 鯨 🐋\n'))).toBe('Wal 鯨 🐋\n');
    expect(decodeCorpus('a.txt', utf8('\uFEFFone\r\ntwo\rthree').buffer)).toBe('one\ntwo\nthree');
  });

  test.each([
    ['no bytes', ''],
    ['white space', ' \n\t\n'],
    ['a byte order mark alone', '\uFEFF'],
  ])('refuses %s', (_, text) => {
    expect(() => decodeCorpus('a.txt', utf8(text))).toThrow(
      `a.txt: there is no text in it (${utf8(text).length} bytes).`,
    );
    expect(() => decodeCorpus('a.txt', utf8(text))).toThrow(CorpusError);
  });

  test.each([
    [
      'an invalid byte',
      [0x61, 0xff, 0x62],
      'byte 1 is 0xff (“ÿ” in Latin-1), which starts no UTF-8 character; 3 bytes',
    ],
    [
      'a continuation byte alone',
      [0x61, 0x80],
      'byte 1 is 0x80, which starts no UTF-8 character; 2 bytes',
    ],
    [
      'Latin-1, at the accented letter',
      [0x63, 0x61, 0x66, 0xe9, 0x20, 0x61],
      'byte 3 is 0xe9 (“é” in Latin-1), and 0x20 cannot follow it in UTF-8; 6 bytes',
    ],
    [
      'Latin-1 after a valid character',
      [0xc3, 0xa9, 0xe9, 0x20],
      'byte 2 is 0xe9 (“é” in Latin-1), and 0x20 cannot follow it in UTF-8; 4 bytes',
    ],
    [
      'Latin-1 at the end',
      [0x61, 0xe9],
      'its last character, at byte 1 (0xe9), is incomplete; 2 bytes',
    ],
    [
      'a character that stops in the middle',
      [0x61, 0xe9, 0xaf, 0x61],
      'byte 1 is 0xe9 (“é” in Latin-1), and 0x61 cannot follow it in UTF-8; 4 bytes',
    ],
    [
      'a surrogate',
      [0x61, 0xed, 0xa0, 0x80],
      'byte 1 is 0xed (“í” in Latin-1), and 0xa0 cannot follow it in UTF-8; 4 bytes',
    ],
    [
      'a character cut by the end',
      [0x61, 0xe9, 0xaf],
      'its last character, at byte 1 (0xe9), is incomplete; 3 bytes',
    ],
  ])('refuses %s and says where', (_, bytes, where) => {
    expect(() => decodeCorpus('a.txt', Uint8Array.from(bytes))).toThrow(
      `a.txt: not UTF-8 (${where}).`,
    );
  });

  const utf16 = (text: string, order: 'le' | 'be', mark: boolean) => {
    const bytes = Buffer.from(`${mark ? '\ufeff' : ''}${text}`, 'utf16le');
    return Uint8Array.from(order === 'le' ? bytes : bytes.swap16());
  };
  test.each([
    ['le', true, 'UTF-16, little-endian (it starts with the mark 0xff 0xfe)'],
    ['be', true, 'UTF-16, big-endian (it starts with the mark 0xfe 0xff)'],
    ['le', false, 'UTF-16, little-endian (byte 1 is 0x00, like many odd bytes and no even one)'],
    ['be', false, 'UTF-16, big-endian (byte 0 is 0x00, like many even bytes and no odd one)'],
  ] as const)('refuses UTF-16 (%s, mark: %s)', (order, mark, problem) => {
    expect(() =>
      decodeCorpus('a.txt', utf16('Call me Ishmael — some years ago.', order, mark)),
    ).toThrow(`a.txt: ${problem}; expected UTF-8.`);
  });

  test('refuses binary files by their first zero, and by bytes that are not UTF-8', () => {
    const zip = Uint8Array.of(0x50, 0x4b, 3, 4, 0x14, 0, 0, 0, 8, 0, 0x21);
    expect(() => decodeCorpus('a.txt', zip)).toThrow(
      'a.txt: not text (byte 5 is 0x00); expected UTF-8 text.',
    );
    const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
    expect(() => decodeCorpus('a.txt', png)).toThrow('a.txt: not UTF-8 (byte 0 is 0x89');
  });

  test('names every Latin-1 character above ASCII and its position', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[a-z ]{1,20}$/),
        fc.integer({ min: 0xa0, max: 0xff }),
        fc.nat(19),
        (text, byte, at) => {
          const bytes = utf8(`${text}.`);
          const place = at % text.length;
          bytes[place] = byte;
          expect(() => decodeCorpus('a.txt', bytes)).toThrow(
            `byte ${place} is 0x${byte.toString(16)}`,
          );
        },
      ),
      { seed: 1 },
    );
  });

  test('finds one bad byte in 19 MB', () => {
    const bytes = new Uint8Array(19_000_000).fill(0x61);
    bytes[17_654_321] = 0x80;
    expect(() => decodeCorpus('a.txt', bytes)).toThrow('byte 17654321 is 0x80');
  });

  test('refuses 50 MB, naming the limit, and accepts exactly the limit', () => {
    expect(() => decodeCorpus('big.txt', new Uint8Array(50_000_000))).toThrow(
      'big.txt: 50 MB, but the limit is 20 MB.',
    );
    expect(decodeCorpus('a.txt', new Uint8Array(MAX_CORPUS_BYTES).fill(0x61)).length).toBe(
      MAX_CORPUS_BYTES,
    );
  });

  test('an error says what to do next', () => {
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
