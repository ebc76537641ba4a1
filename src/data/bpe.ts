// Trains a byte-level BPE vocabulary like GPT-2's, and builds its Hugging Face files. Pure and
// deterministic. Encoding and decoding are in tokenizer.ts, which reads these files.

import { shownJson } from '../quote';

export const END_OF_TEXT = '<|endoftext|>';

/** GPT-2's pre-tokenizer: a text is cut into these pieces, and no merge crosses two of them. */
export const PIECES =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

export interface BytePairs {
  /** Token texts in GPT-2's byte alphabet; the index is the id. The last is `<|endoftext|>`. */
  tokens: string[];
  /** The two tokens of each merge, highest priority first. */
  merges: [string, string][];
}

/**
 * GPT-2's byte alphabet: one visible character per byte, in the order of the token ids. Visible
 * Latin-1 characters stand for their own byte; those from U+0100 on stand for the other bytes.
 */
export function byteAlphabet(): { bytes: number[]; characters: string[] } {
  const all = Array.from({ length: 256 }, (_, byte) => byte);
  const isVisible = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
  const hidden = all.filter((byte) => !isVisible(byte));
  const bytes = [...all.filter(isVisible), ...hidden];
  const characters = bytes.map((byte) =>
    String.fromCharCode(isVisible(byte) ? byte : 256 + hidden.indexOf(byte)),
  );
  return { bytes, characters };
}

/** The distinct pieces of the text, as byte ids, and how often each occurs. */
function countPieces(text: string, bytes: readonly number[]): { ids: Int32Array; count: number }[] {
  const idOfByte = new Int32Array(256);
  bytes.forEach((byte, id) => {
    idOfByte[byte] = id;
  });
  const counts = new Map<string, number>();
  for (const [piece] of text.matchAll(PIECES)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  const encoder = new TextEncoder();
  return [...counts].map(([piece, count]) => ({
    ids: Int32Array.from(encoder.encode(piece), (byte) => idOfByte[byte]),
    count,
  }));
}

/** Replaces each pair (left, right) by `merged`, from left to right. */
function replacePair(ids: Int32Array, left: number, right: number, merged: number): Int32Array {
  let length = 0;
  for (let i = 0; i < ids.length; i++) {
    const isPair = ids[i] === left && ids[i + 1] === right;
    ids[length++] = isPair ? merged : ids[i];
    if (isPair) i++;
  }
  return ids.subarray(0, length);
}

/**
 * Learns `vocabularySize − 257` merges; the other tokens are the 256 bytes, first, and
 * `<|endoftext|>`, last. Each merge takes the most frequent pair; among equally frequent ones, the
 * pair with the lowest ids. The pair counts are a square table, so the vocabulary should have at
 * most a few thousand tokens.
 * @throws Error once no pair occurs twice
 */
export function trainBytePairs(text: string, vocabularySize: number): BytePairs {
  if (vocabularySize < 257) {
    throw new Error(
      `train the tokenizer: a vocabulary of ${vocabularySize} is too small. ` +
        `256 bytes and ${END_OF_TEXT} need 257.`,
    );
  }
  const { bytes, characters: tokens } = byteAlphabet();
  const merges: [string, string][] = [];
  const pieces = countPieces(text, bytes);
  const pairCounts = new Int32Array(vocabularySize * vocabularySize);

  while (tokens.length < vocabularySize - 1) {
    pairCounts.fill(0);
    for (const { ids, count } of pieces) {
      for (let i = 1; i < ids.length; i++)
        pairCounts[ids[i - 1] * vocabularySize + ids[i]] += count;
    }
    let best = 0;
    for (let pair = 1; pair < pairCounts.length; pair++)
      if (pairCounts[pair] > pairCounts[best]) best = pair;
    if (pairCounts[best] < 2) {
      throw new Error(
        `train the tokenizer: after ${merges.length} merges (${tokens.length} of ` +
          `${vocabularySize} tokens), no pair occurs twice. ` +
          'Use a longer text or a smaller vocabulary.',
      );
    }
    const [left, right] = [Math.floor(best / vocabularySize), best % vocabularySize];
    for (const piece of pieces) piece.ids = replacePair(piece.ids, left, right, tokens.length);
    merges.push([tokens[left], tokens[right]]);
    tokens.push(tokens[left] + tokens[right]);
  }
  tokens.push(END_OF_TEXT);
  return { tokens, merges };
}

/**
 * Reads GPT-2's original files: `vocab.json` (ids by token) and `merges.txt` (a version line, then
 * one pair per line).
 * @throws Error if the ids are not 0, 1, 2, … or a line is not a pair
 */
export function readBytePairs(vocabulary: unknown, mergesText: string): BytePairs {
  const entries = Object.entries((vocabulary ?? {}) as Record<string, unknown>);
  const tokens: string[] = new Array(entries.length);
  for (const [token, id] of entries) {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= tokens.length) {
      throw new Error(
        `vocab.json: ${shownJson(token)} has id ${shownJson(id)}, but ids run from 0 to ` +
          `${tokens.length - 1}.`,
      );
    }
    if (tokens[id as number] !== undefined) {
      throw new Error(`vocab.json: two tokens have id ${id}. Use the model's original file.`);
    }
    tokens[id as number] = token;
  }
  const merges = mergesText
    .split(/\r?\n/)
    .filter((line) => line !== '' && !line.startsWith('#version'))
    .map((line) => {
      const pair = line.split(' ');
      if (pair.length === 2) return pair as [string, string];
      throw new Error(
        `merges.txt: ${JSON.stringify(line.slice(0, 60))} is not a pair. ` +
          "Use the model's original file.",
      );
    });
  return { tokens, merges };
}

/** The contents of `tokenizer.json` and `tokenizer_config.json`. `contextLength`: in tokens. */
export function tokenizerFiles({ tokens, merges }: BytePairs, contextLength?: number) {
  const byteLevel = {
    type: 'ByteLevel',
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: true,
  };
  const endOfText = {
    content: END_OF_TEXT,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  };
  const endOfTextId = tokens.indexOf(END_OF_TEXT);
  return {
    tokenizerJson: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [{ id: endOfTextId, ...endOfText }],
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: { ...byteLevel, trim_offsets: false },
      decoder: byteLevel,
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: merges.map((pair) => pair.join(' ')),
      },
    },
    tokenizerConfig: {
      tokenizer_class: 'GPT2Tokenizer',
      model_max_length: contextLength,
      add_prefix_space: false,
      clean_up_tokenization_spaces: false,
      bos_token: END_OF_TEXT,
      eos_token: END_OF_TEXT,
      unk_token: END_OF_TEXT,
      added_tokens_decoder: { [endOfTextId]: endOfText },
    },
  };
}
