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
  return {
    normalised: (text) => (form ? text.normalize(form) : text),
    offsets(text, ids) {
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
    },
  };
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
