// Which bytes of a text each of its tokens stands for. The tokenizer library does not say, so the
// tokens are spelt out from tokenizer.json and laid along the text.

import { byteAlphabet } from './bpe';

interface TokenizerJson {
  added_tokens?: { id: number; content: string }[];
  normalizer?: unknown;
  decoder?: unknown;
  model: { vocab: Record<string, number> };
}

/** The texts and tokens of one tokenizer. */
export interface Spelling {
  /** A text as its normaliser leaves it, apart from spaces. */
  normalised(text: string): string;
  /**
   * (n + 1) where each token begins in the text's UTF-8, and where the last one ends. Undefined if
   * the tokens do not spell the text.
   */
  offsets(text: string, ids: ArrayLike<number>): Uint32Array | undefined;
  /**
   * The same in the text before it is normalised. Of a character that the normaliser changes, only
   * the ends are bytes of the text; a boundary inside it is a fraction between two bytes.
   */
  boundaries(text: string, ids: ArrayLike<number>): Float64Array | undefined;
  /** The bytes that a token stands for. */
  spell(id: number): Uint8Array;
}

const FORMS = ['NFC', 'NFD', 'NFKC', 'NFKD'] as const;
const SPACE = 0x20;
const isWhite = (byte: number) => byte === SPACE || (byte >= 9 && byte <= 13);

/** `tokenizerJson`: one that the library has accepted. */
export function spellingOf(tokenizerJson: unknown): Spelling {
  const { added_tokens = [], normalizer, decoder, model } = tokenizerJson as TokenizerJson;
  const isOf = (part: unknown, type: string) => JSON.stringify(part ?? null).includes(`"${type}"`);
  const form = FORMS.find((name) => isOf(normalizer, name));
  const bytesOf = isOf(decoder, 'ByteLevel') ? byteLevel() : byteFallback;
  const texts: string[] = [];
  for (const [token, id] of Object.entries(model.vocab)) texts[id] = token;
  const spelt: Uint8Array[] = [];
  const encoder = new TextEncoder();
  for (const { id, content } of added_tokens) spelt[id] = encoder.encode(content);
  const spell = (id: number): Uint8Array => {
    spelt[id] ??= bytesOf(texts[id] ?? '');
    return spelt[id];
  };
  const normalised = (text: string) => (form ? text.normalize(form) : text);
  const offsets = (text: string, ids: ArrayLike<number>) => {
    const bytes = encoder.encode(text);
    const starts = new Uint32Array(ids.length + 1);
    let at = 0;
    for (let i = 0; i < ids.length; i++) {
      const token = spell(ids[i]);
      const [start, end] = placeOf(token, bytes, at);
      if (end === undefined) return undefined;
      starts[i] = start;
      at = end;
    }
    starts[ids.length] = at;
    return bytes.subarray(at).every(isWhite) ? starts : undefined;
  };
  return {
    normalised,
    offsets,
    boundaries(text, ids) {
      const starts = offsets(normalised(text), ids);
      if (!starts || !form || text === normalised(text)) return starts && Float64Array.from(starts);
      const places = placesBefore(text, normalised);
      return Float64Array.from(starts, (start) => places[start]);
    },
    spell,
  };
}

/** A character with its marks, or a syllable of Hangul: what a normaliser changes as one. */
const CHARACTER = /[\u1100-\u11ff]+|\P{M}?\p{M}*/gsu;

/** Where each byte of the normalised text, and its end, lies in the text. */
function placesBefore(text: string, normalised: (text: string) => string): Float64Array {
  const length = (part: string) => new TextEncoder().encode(part).length;
  let parts: string[] = text.match(CHARACTER) ?? [];
  // Where that is not how it changes, only the text's ends are certain.
  if (parts.map(normalised).join('') !== normalised(text)) parts = [text];
  const places = new Float64Array(length(normalised(text)) + 1);
  let [before, after] = [0, 0];
  for (const part of parts) {
    const changed = normalised(part);
    const size = length(changed);
    for (let i = 0; i < size; i++)
      places[after + i] = before + (changed === part ? i : i / (size + 1));
    before += length(part);
    after += size;
  }
  places[after] = before;
  return places;
}

/** Where a token lies in the text from `at` on; no end if it does not follow there. */
function placeOf(token: Uint8Array, text: Uint8Array, at: number): [start: number, end?: number] {
  if (follows(token, text, at)) return [at, at + token.length];
  // Some tokenizers put a space before a text.
  if (token[0] === SPACE && follows(token.subarray(1), text, at))
    return [at, at + token.length - 1];
  // Some added tokens swallow the white space around them.
  let start = at;
  while (start < text.length && isWhite(text[start])) start++;
  return follows(token, text, start) ? [start, start + token.length] : [at];
}

function follows(token: Uint8Array, text: Uint8Array, at: number): boolean {
  return at + token.length <= text.length && token.every((byte, i) => text[at + i] === byte);
}

/** Spells a token of GPT-2's byte alphabet. */
function byteLevel(): (token: string) => Uint8Array {
  const { bytes, characters } = byteAlphabet();
  const byteOf = new Map(characters.map((character, i) => [character, bytes[i]]));
  return (token) => Uint8Array.from(token, (character) => byteOf.get(character) ?? 0);
}

/** Spells a token of a SentencePiece vocabulary: `▁` is a space, `<0x0A>` a byte. */
function byteFallback(token: string): Uint8Array {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(token);
  return byte
    ? Uint8Array.of(Number.parseInt(byte[1], 16))
    : new TextEncoder().encode(token.replaceAll('▁', ' '));
}
