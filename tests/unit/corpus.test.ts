// A text from bytes: what is taken, and what each bad file is told.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CorpusError, decodeCorpus, MAX_CORPUS_BYTES } from '../../src/data/corpus';

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
    expect(() => decodeCorpus('a.txt', utf8(text))).toThrow(
      `a.txt: no text in it (${utf8(text).length} bytes).`,
    );
    expect(() => decodeCorpus('a.txt', utf8(text))).toThrow(CorpusError);
  });

  test.each([
    [
      'a lone byte',
      [0x61, 0xff, 0x62],
      'byte 1 is 0xff, in Latin-1 “ÿ”, which begins no character of UTF-8; 3 bytes',
    ],
    [
      'a byte that only goes on',
      [0x61, 0x80],
      'byte 1 is 0x80, which begins no character of UTF-8; 2 bytes',
    ],
    [
      'Latin-1, by the accented letter',
      [0x63, 0x61, 0x66, 0xe9, 0x20, 0x61],
      'byte 3 is 0xe9, in Latin-1 “é”, and 0x20 cannot follow it in UTF-8; 6 bytes',
    ],
    [
      'Latin-1 after a good character',
      [0xc3, 0xa9, 0xe9, 0x20],
      'byte 2 is 0xe9, in Latin-1 “é”, and 0x20 cannot follow it in UTF-8; 4 bytes',
    ],
    [
      'Latin-1 at the end',
      [0x61, 0xe9],
      'its last character, from byte 1 (0xe9) on, is cut short; 2 bytes',
    ],
    [
      'a character that breaks off in the middle',
      [0x61, 0xe9, 0xaf, 0x61],
      'byte 1 is 0xe9, in Latin-1 “é”, and 0x61 cannot follow it in UTF-8; 4 bytes',
    ],
    [
      'a surrogate',
      [0x61, 0xed, 0xa0, 0x80],
      'byte 1 is 0xed, in Latin-1 “í”, and 0xa0 cannot follow it in UTF-8; 4 bytes',
    ],
    [
      'a cut character',
      [0x61, 0xe9, 0xaf],
      'its last character, from byte 1 (0xe9) on, is cut short; 3 bytes',
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
    ['le', true, 'in UTF-16, little-endian (byte 0 is 0xff and byte 1 0xfe, its mark)'],
    ['be', true, 'in UTF-16, big-endian (byte 0 is 0xfe and byte 1 0xff, its mark)'],
    ['le', false, 'in UTF-16, little-endian (byte 1 is 0x00, as are most in its places)'],
    ['be', false, 'in UTF-16, big-endian (byte 0 is 0x00, as are most in its places)'],
  ] as const)('refuses UTF-16 (%s, mark: %s)', (order, mark, said) => {
    expect(() =>
      decodeCorpus('a.txt', utf16('Call me Ishmael — some years ago.', order, mark)),
    ).toThrow(`a.txt: ${said}, where UTF-8 was expected.`);
  });

  test('refuses binary files by their first zero, and by bytes that are not UTF-8', () => {
    const zip = Uint8Array.of(0x50, 0x4b, 3, 4, 0x14, 0, 0, 0, 8, 0, 0x21);
    expect(() => decodeCorpus('a.txt', zip)).toThrow(
      'a.txt: not text (byte 5 is 0x00), where text in UTF-8 was expected.',
    );
    const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
    expect(() => decodeCorpus('a.txt', png)).toThrow('a.txt: not UTF-8 (byte 0 is 0x89');
  });

  test('whatever is one character of Latin-1 above ASCII is named itself, at its own place', () => {
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

  test('refuses 50 MB with both sizes, and takes the largest size', () => {
    expect(() => decodeCorpus('big.txt', new Uint8Array(50_000_000))).toThrow(
      'big.txt: 50 MB, and at most 20 MB can be used.',
    );
    expect(decodeCorpus('a.txt', new Uint8Array(MAX_CORPUS_BYTES).fill(0x61)).length).toBe(
      MAX_CORPUS_BYTES,
    );
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
