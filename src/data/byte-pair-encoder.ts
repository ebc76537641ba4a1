// Encodes text as GPT-2's tokenizer does. The library (tokenizer.ts) gives the same tokens, but
// takes 40 µs for each new word: 2 s for a book, at the start of every run. This takes a tenth.

import { byteAlphabet, PIECES } from './bpe';

/** Undefined for a text that only the library encodes. */
export type EncodePieces = (text: string) => number[] | undefined;

/** Merging takes time with the square of a piece's length. Longer ones are left to the library. */
const LONGEST_PIECE = 256;
/** Distinct pieces whose tokens are kept; a book has some ten thousand. */
const MOST_KEPT = 100_000;

interface TokenizerJson {
  added_tokens?: { content?: unknown }[];
  normalizer?: unknown;
  pre_tokenizer?: { type?: unknown; add_prefix_space?: unknown; use_regex?: unknown };
  model?: Record<string, unknown>;
}

/** Fields of the model that change how it merges. */
const UNUSUAL = [
  'dropout',
  'continuing_subword_prefix',
  'end_of_word_suffix',
  'byte_fallback',
  'ignore_merges',
];

/** Undefined unless tokenizer.json describes a byte-level BPE with GPT-2's pieces and no more. */
export function bytePairEncoder(tokenizerJson: unknown): EncodePieces | undefined {
  const { added_tokens = [], normalizer, pre_tokenizer, model } = tokenizerJson as TokenizerJson;
  if (
    normalizer ||
    pre_tokenizer?.type !== 'ByteLevel' ||
    pre_tokenizer.add_prefix_space !== false ||
    pre_tokenizer.use_regex === false ||
    model?.type !== 'BPE' ||
    UNUSUAL.some((field) => model[field])
  )
    return undefined;
  const vocabulary = new Map(Object.entries(model.vocab as Record<string, number>));
  const { bytes, characters } = byteAlphabet();
  const idOfByte = new Int32Array(256);
  for (const [i, byte] of bytes.entries()) idOfByte[byte] = vocabulary.get(characters[i]) ?? -1;
  const merges = mergesById(model.merges, vocabulary);
  if (!merges || idOfByte.includes(-1)) return undefined;

  const special = added_tokens.map(({ content }) => String(content));
  const kept = new Map<string, number[]>();
  const encoder = new TextEncoder();
  return (text) => {
    if (special.some((token) => text.includes(token))) return undefined;
    const all: number[] = [];
    for (const [piece] of text.matchAll(PIECES)) {
      let ids = kept.get(piece);
      if (!ids) {
        if (piece.length > LONGEST_PIECE) return undefined;
        ids = merge(
          Array.from(encoder.encode(piece), (byte) => idOfByte[byte]),
          merges,
        );
        if (kept.size < MOST_KEPT) kept.set(piece, ids);
      }
      for (const id of ids) all.push(id);
    }
    return all;
  };
}

interface Merge {
  rank: number;
  merged: number;
}
type Merges = ReadonlyMap<number, Merge>;

/** More than any id, so that a pair of ids has a key of its own. */
const KEY = 2 ** 26;

/** Undefined if a merge is no pair of tokens that make a token. */
function mergesById(merges: unknown, vocabulary: Map<string, number>): Merges | undefined {
  const byId = new Map<number, Merge>();
  if (!Array.isArray(merges)) return undefined;
  for (const [rank, entry] of merges.entries()) {
    const [left, right] = typeof entry === 'string' ? entry.split(' ') : (entry as string[]);
    const ids = [left, right, left + right].map((token) => vocabulary.get(token));
    if (ids.includes(undefined)) return undefined;
    const [leftId, rightId, merged] = ids as number[];
    byId.set(leftId * KEY + rightId, { rank, merged });
  }
  return byId;
}

/** Merges the pair of lowest rank, of equal ones the first, until no pair can be merged. */
function merge(ids: number[], merges: Merges): number[] {
  for (;;) {
    let best: Merge | undefined;
    let at = 0;
    for (let i = 1; i < ids.length; i++) {
      const candidate = merges.get(ids[i - 1] * KEY + ids[i]);
      if (candidate && (!best || candidate.rank < best.rank)) {
        best = candidate;
        at = i - 1;
      }
    }
    if (!best) return ids;
    ids.splice(at, 2, best.merged);
  }
}
