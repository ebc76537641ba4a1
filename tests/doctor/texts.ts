// Texts that a tokenizer or a student cannot do much with, made from seeded random numbers and from
// the book.

import { Random } from '../../src/tensor/random';

const pick = <T>(random: Random, values: readonly T[]): T =>
  values[Math.floor(random.uniform() * values.length)];

const words = (random: Random, letters: string, count: number): string =>
  Array.from({ length: count }, () =>
    Array.from({ length: 2 + Math.floor(random.uniform() * 7) }, () =>
      pick(random, [...letters]),
    ).join(''),
  ).join(' ');

export const TEXTS = {
  /** Another script than the tokenizer's. */
  cyrillic: () => words(new Random(1), 'абвгдежзиклмнопрстуфхцчшщэюя', 4000),
  /** Bytes as hexadecimal digits. */
  hex: () => words(new Random(2), '0123456789abcdef', 6000),
  /** Each line filled up with line breaks, as a table that was padded. */
  padded: (book: string) =>
    book
      .slice(0, 60_000)
      .split(/(?<=[.;!?])\s/)
      .map((line) => line.replace(/\s+/g, ' ') + '\n'.repeat(2 * Math.ceil(line.length / 6)))
      .join(''),
  /** One batch of windows. */
  onePage: (book: string) => book.slice(20_000, 21_500),
  fewPages: (book: string) => book.slice(20_000, 38_000),
  /** One sentence again and again, with a page of random letters every now and then. */
  interrupted: () => {
    const random = new Random(3);
    const same = 'The whale is white, and the sea is wide. '.repeat(400);
    return Array.from({ length: 30 }, () => same + words(random, 'qxzjkvw#%&', 40)).join(' ');
  },
} satisfies Record<string, (book: string) => string>;

/** A text as documents of a few words each. */
export const shortDocuments = (book: string): string[][] =>
  book
    .slice(20_000, 80_000)
    .split(/(?<=[.;,!?])\s+/)
    .filter((line) => line.length > 40 && line.length < 120)
    .map((line) => [line]);
