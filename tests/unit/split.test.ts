// The held-out set: whole documents, the same for the same seed, never seen in training. A single
// text is cut in two.

import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULTS } from '../../src/config';
import { Batches, IGNORED_TARGET } from '../../src/data/batches';
import { CorpusError } from '../../src/data/corpus';
import * as data from '../../src/data/split';
import { loadTokenizer, type Tokenizer } from '../../src/data/tokenizer';
import { prepareData, previewData } from '../../src/distill/data';
import { Random } from '../../src/tensor/random';

const tokenizer = await loadTokenizer('public/models/moby-teacher', {
  read: (path) => readFile(path, 'utf8'),
});
const END = tokenizer.endOfText as number;
const random = (seed: number | string) => {
  const stream = new Random(seed);
  return () => stream.uniform();
};

// Here every token is learned, so that a document is its ids alone.
const encodeDocuments = (...options: Parameters<typeof data.encodeDocuments>) =>
  data.encodeDocuments(...options).map(({ ids }) => ids);
const idsOf = ({ train, heldOut, heldOutDocuments }: data.CorpusSplit) => ({
  train: train.ids,
  heldOut: heldOut.ids,
  heldOutDocuments,
});
const splitCorpus = (ids: Uint32Array, options: Parameters<typeof data.splitCorpus>[1]) =>
  idsOf(data.splitCorpus({ ids }, options));
const splitDocuments = (documents: Uint32Array[], options: data.SplitOptions) =>
  idsOf(
    data.splitDocuments(
      documents.map((ids) => ({ ids })),
      options,
    ),
  );

describe('splitCorpus', () => {
  const tokens = Uint32Array.from({ length: 1000 }, (_, i) => i);

  test('holds out the last tenth, without overlap or loss', () => {
    const { train, heldOut } = splitCorpus(tokens, { contextLength: 64 });
    expect([train.length, heldOut.length]).toEqual([900, 100]);
    expect([...train, ...heldOut]).toEqual([...tokens]);
  });

  test('holds out another share on request', () => {
    expect(splitCorpus(tokens, { contextLength: 64, heldOutFraction: 0.5 }).heldOut[0]).toBe(500);
  });

  test('one window in each set is enough, one token less is not', () => {
    expect(splitCorpus(tokens, { contextLength: 99 }).heldOut.length).toBe(100);
    expect(() => splitCorpus(tokens, { contextLength: 100 })).toThrow(
      '1000 tokens are too few: 900 for training and 100 held out, ' +
        'but each needs at least 101 (a context of 100 and one more).',
    );
    expect(() => splitCorpus(tokens, { contextLength: 200, heldOutFraction: 0.9 })).toThrow(
      /100 for training and 900 held out/,
    );
    expect(() => splitCorpus(new Uint32Array(0), { contextLength: 2 })).toThrow(CorpusError);
  });

  test('the length that the hint gives is enough', () => {
    const enough = 1010;
    expect(() => splitCorpus(tokens, { contextLength: 100 })).toThrow(
      expect.objectContaining({
        hint: `Use a text of at least ${enough} tokens, or use a context of at most 99.`,
        longestContext: 99,
      }),
    );
    expect(splitCorpus(new Uint32Array(enough), { contextLength: 100 }).heldOut.length).toBe(101);
  });

  test.each([0, 1, -0.1, NaN])('refuses a share of %s', (heldOutFraction) => {
    expect(() => splitCorpus(tokens, { contextLength: 8, heldOutFraction })).toThrow(RangeError);
  });
});

describe('encodeDocuments', () => {
  const ids = (text: string) => Array.from(tokenizer.encode(text));

  test('a single plain text is only encoded', () => {
    expect(encodeDocuments([['The whale']], tokenizer).map((d) => [...d])).toEqual([
      ids('The whale'),
    ]);
  });

  test('the end-of-text token ends documents and joins turns', () => {
    const documents = encodeDocuments(
      [['The whale'], ['Hello.', 'Who are you?', 'Ishmael.']],
      tokenizer,
    );
    expect(documents.map((document) => [...document])).toEqual([
      [...ids('The whale'), END],
      [...ids('Hello.'), END, ...ids('Who are you?'), END, ...ids('Ishmael.'), END],
    ]);
  });

  test('a text that already ends with the token gets no second one', () => {
    const [first] = encodeDocuments([['Hello.<|endoftext|>Who?<|endoftext|>'], ['x']], tokenizer);
    expect([...first]).toEqual([...ids('Hello.'), END, ...ids('Who?'), END]);
  });

  test('without that token, an empty line separates documents, and dialogues are refused', () => {
    const { endOfText: _, ...rest } = tokenizer;
    const without: Tokenizer = rest;
    const [first] = encodeDocuments([['one'], ['two']], without);
    expect(tokenizer.decode(first)).toBe('one\n\n');
    expect(() => encodeDocuments([['a', 'b']], without)).toThrow(/has no end-of-text token/);
  });
});

describe('splitDocuments', () => {
  /** Documents whose tokens are all the document's number. */
  const numbered = (lengths: readonly number[]) =>
    lengths.map((length, number) => new Uint32Array(length).fill(number));

  test('about a tenth, in whole documents and in order, chosen by the seed', () => {
    const documents = numbered(Array.from({ length: 200 }, (_, i) => 5 + (i % 11)));
    const split = (seed: number) =>
      splitDocuments(documents, { contextLength: 16, random: random(seed) });
    const { train, heldOut, heldOutDocuments } = split(1);
    const total = train.length + heldOut.length;
    expect(total).toBe(documents.reduce((sum, { length }) => sum + length, 0));
    expect(heldOut.length).toBeLessThanOrEqual(total / 10);
    expect(heldOut.length).toBeGreaterThan(total / 10 - 16);
    expect(heldOutDocuments).toBe(new Set(heldOut).size);
    expect([...heldOut]).toEqual([...heldOut].sort((a, b) => a - b));
    expect(split(1)).toEqual({ train, heldOut, heldOutDocuments });
    expect(split(2).heldOut).not.toEqual(heldOut);
  });

  test('no document is in both sets and none is lost, whatever their lengths', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 2, maxLength: 40 }),
        fc.integer(),
        (lengths, seed) => {
          const documents = numbered(lengths);
          let split: ReturnType<typeof splitDocuments>;
          try {
            split = splitDocuments(documents, { contextLength: 4, random: random(seed) });
          } catch (error) {
            expect(error).toBeInstanceOf(CorpusError);
            return;
          }
          const { train, heldOut } = split;
          const held = new Set(heldOut);
          expect(train.some((number) => held.has(number))).toBe(false);
          expect([...train, ...heldOut].sort((a, b) => a - b)).toEqual(
            documents.flatMap((document) => [...document]),
          );
          expect(Math.min(train.length, heldOut.length)).toBeGreaterThan(4);
        },
      ),
      { seed: 1, numRuns: 500 },
    );
  });

  test('the longest context of the error is enough, and one token more is not', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 }),
        fc.integer(),
        (lengths, seed) => {
          const split = (contextLength: number) =>
            splitDocuments(numbered(lengths), { contextLength, random: random(seed) });
          let longest: number | undefined;
          try {
            split(512);
          } catch (error) {
            longest = (error as CorpusError).longestContext;
          }
          if (longest !== undefined) split(longest);
          expect(() => split((longest ?? 1) + 1)).toThrow(CorpusError);
        },
      ),
      { seed: 1, numRuns: 200 },
    );
  });

  test('one of two long documents is held out', () => {
    const { train, heldOut, heldOutDocuments } = splitDocuments(numbered([900, 300]), {
      contextLength: 8,
      random: random(1),
    });
    expect([new Set(train), new Set(heldOut), heldOutDocuments]).toEqual([
      new Set([0]),
      new Set([1]),
      1,
    ]);
  });

  test('identical documents go to the same set', () => {
    const documents = numbered(Array.from({ length: 60 }, () => 8)).map((ids, i) =>
      ids.fill(i % 20),
    );
    for (let seed = 0; seed < 20; seed++) {
      const { train, heldOut } = splitDocuments(documents, {
        contextLength: 8,
        random: random(seed),
      });
      const held = new Set(heldOut);
      expect(train.some((number) => held.has(number))).toBe(false);
    }
  });

  test('too few or only identical documents: the error counts the tokens of both sets', () => {
    expect(() => splitDocuments(numbered([9, 3]), { contextLength: 8, random: random(1) })).toThrow(
      '2 documents with 12 tokens are too few: 9 for training and 3 held out, ' +
        'but each needs at least 9 (a context of 8 and one more).',
    );
    const same = [1, 2, 3].map(() => new Uint32Array(100));
    expect(() => splitDocuments(same, { contextLength: 8, random: random(1) })).toThrow(
      '3 documents (1 different) with 300 tokens are too few: 300 for training and 0 held out',
    );
  });

  test('a single document is cut in two', () => {
    const [document] = [Uint32Array.from({ length: 1000 }, (_, i) => i)];
    expect(splitDocuments([document], { contextLength: 64, random: random(1) })).toEqual(
      splitCorpus(document, { contextLength: 64 }),
    );
  });

  test.each([0, 1, NaN])('refuses a share of %s', (heldOutFraction) => {
    const options = { contextLength: 8, random: random(1), heldOutFraction };
    expect(() => splitDocuments(numbered([100, 100]), options)).toThrow(RangeError);
  });
});

describe('prepareData', () => {
  const config = { ...DEFAULTS, batch_size: 3, max_length: 16, eval_batches: 5 };
  const documents = Array.from({ length: 80 }, (_, number) => ({
    ids: new Uint32Array(20 + (number % 7)).fill(number),
  }));

  test('no training batch of many epochs has a token of a held-out document', () => {
    const { batches, heldOut, heldOutDocuments } = prepareData(documents, config);
    const trained = new Set<number>();
    for (let index = 0; index < 20 * Math.ceil(batches.windowsPerEpoch / 3); index++) {
      const { inputs, targets } = batches.at(index);
      for (const id of [...inputs, ...targets]) trained.add(id);
    }
    const evaluated = new Set<number>();
    for (const { inputs, targets } of heldOut) {
      targets.forEach((target, i) => {
        if (target === IGNORED_TARGET) return;
        evaluated.add(inputs[i]);
        evaluated.add(target);
      });
    }
    expect(evaluated.size).toBeGreaterThan(1);
    expect(heldOutDocuments).toBeGreaterThanOrEqual(evaluated.size);
    expect([...evaluated].filter((id) => trained.has(id))).toEqual([]);
    // All other documents are trained on.
    expect(trained.size).toBe(80 - heldOutDocuments);
  });

  test('the batches of a single text do not depend on how documents are split', () => {
    const text = Uint32Array.from({ length: 3000 }, (_, i) => i);
    const { batches } = prepareData([{ ids: text }], config);
    const plain = new Batches({
      tokens: text.subarray(0, 2700),
      batchSize: 3,
      contextLength: 16,
      randomOf: (epoch) => {
        const stream = new Random(config.seed).fork(`epoch ${epoch}`);
        return () => stream.uniform();
      },
    });
    for (const index of [0, 7, 200]) expect(batches.at(index)).toEqual(plain.at(index));
  });

  test('the preview is the run’s first batch as text, split at the end of documents', () => {
    const texts = Array.from({ length: 60 }, (_, i) => [
      `Whale number ${i} swims.`,
      `So it does, ${i} times.`,
    ]);
    const ids = data.encodeDocuments(texts, tokenizer);
    const preview = previewData(ids, config, tokenizer);
    const { inputs } = prepareData(ids, config).batches.at(0);
    expect(preview.rows.length).toBe(3);
    preview.rows.forEach((parts, row) => {
      expect(parts.length).toBeGreaterThan(1);
      expect(parts.some(({ end }) => end)).toBe(true);
      expect(parts.map(({ text }) => text).join('')).toBe(
        tokenizer.decode(inputs.subarray(row * 16, row * 16 + 16)),
      );
    });
    expect(preview).toMatchObject({ documents: 60, batchSize: 3, endOfText: '<|endoftext|>' });
    expect(preview.heldOutDocuments).toBeGreaterThan(0);
    expect(preview.trainTokens + preview.heldOutTokens).toBe(
      ids.reduce((sum, document) => sum + document.ids.length, 0),
    );
  });

  test('masked, the preview shows where attention begins again', () => {
    const texts = Array.from({ length: 60 }, (_, i) => [`Whale ${i} swims.`]);
    const ids = data.encodeDocuments(texts, tokenizer);
    const masked = previewData(ids, { ...config, packing: 'masked' }, tokenizer);
    const plain = previewData(ids, config, tokenizer);
    const textOf = (row: { text: string }[]) => row.map(({ text }) => text).join('');
    expect(masked.masked && !plain.masked).toBe(true);
    expect(masked.rows.map(textOf)).toEqual(plain.rows.map(textOf));
    for (const row of masked.rows) {
      const begun = row.filter(({ begins }) => begins).map(({ text }) => text);
      expect(begun.length).toBeGreaterThan(0);
      for (const [i, { begins }] of row.entries()) expect(!!begins).toBe(!!row[i - 1]?.end);
    }
    expect(plain.rows.flat().some(({ begins }) => begins)).toBe(false);
  });

  test('the preview of a large batch shows its first rows', () => {
    const preview = previewData(documents, { ...config, batch_size: 32, max_length: 8 }, tokenizer);
    expect([preview.rows.length, preview.batchSize]).toEqual([8, 32]);
  });
});
