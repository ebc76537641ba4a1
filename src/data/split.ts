// Tokens of documents, and the part of them that training never sees.

import { CorpusError } from './corpus';
import type { Document } from './documents';
import type { Tokenizer } from './tokenizer';

/** Where a tokenizer has no end-of-text token, plain documents are told apart as paragraphs are. */
const PARAGRAPH = '\n\n';

/**
 * Token ids of each document. Every text of a document is followed by the end-of-text token, as
 * GPT-2's documents and DialoGPT's turns are; one that ends with it already gets no second. A
 * single plain text stays as it is: it has nothing to be told apart from. Throws a CorpusError for
 * dialogues where the tokenizer has no such token.
 */
export function encodeDocuments(
  documents: readonly Document[],
  tokenizer: Tokenizer,
): Uint32Array[] {
  const { endOfText } = tokenizer;
  if (documents.length === 1 && documents[0].length === 1)
    return [tokenizer.encode(documents[0][0])];
  if (endOfText === undefined && documents.some((texts) => texts.length > 1)) {
    throw new CorpusError(
      'The teacher’s tokenizer names no end-of-text token, and turns of a dialogue are joined by it.',
      'Read the data as text, or choose another teacher.',
    );
  }
  const end = endOfText === undefined ? tokenizer.encode(PARAGRAPH) : Uint32Array.of(endOfText);
  return documents.map((texts) =>
    concatenate(
      texts.flatMap((text) => {
        const ids = tokenizer.encode(text);
        return endOfText !== undefined && ids.at(-1) === endOfText ? [ids] : [ids, end];
      }),
    ),
  );
}

function concatenate(parts: readonly Uint32Array[]): Uint32Array {
  const whole = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

export interface CorpusSplit {
  /** For training. */
  train: Uint32Array;
  /** For evaluation. No document is in both; of a single document, no token. */
  heldOut: Uint32Array;
  /** How many whole documents are held out; 0 where the end of a single one is. */
  heldOutDocuments: number;
}

export interface SplitOptions {
  /** Tokens of context (T). Each part holds at least one window of T + 1 tokens. */
  contextLength: number;
  /** Numbers in [0, 1) that choose the documents; the same ones choose the same. */
  random: () => number;
  /** Share of the tokens kept for evaluation, between 0 and 1. */
  heldOutFraction?: number;
}

/**
 * Holds out documents drawn at random, whole, up to the share of all tokens; then, if they hold no
 * window yet, the shortest of the others. Documents that are the same go together, so that none is
 * trained on under another number. Both parts keep the documents' order. A single document is cut
 * by `splitCorpus`. Throws a CorpusError if a part is shorter than a context and one token, a
 * RangeError for a share that is not between 0 and 1.
 */
export function splitDocuments(
  documents: readonly Uint32Array[],
  options: SplitOptions,
): CorpusSplit {
  const { contextLength, random, heldOutFraction = 0.1 } = options;
  requireFraction(heldOutFraction);
  if (documents.length === 1) return splitCorpus(documents[0], options);
  const groups = new Map<string, { members: number[]; tokens: number }>();
  documents.forEach((ids, index) => {
    const key = ids.join();
    const group = groups.get(key) ?? { members: [], tokens: 0 };
    groups.set(key, group);
    group.members.push(index);
    group.tokens += ids.length;
  });
  const total = documents.reduce((sum, ids) => sum + ids.length, 0);
  const order = [...groups.values()];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  const chosen = new Set<number>();
  let held = 0;
  const hold = ({ members, tokens }: { members: number[]; tokens: number }) => {
    for (const index of members) chosen.add(index);
    held += tokens;
  };
  const left = order.filter((group) => {
    if (held + group.tokens > total * heldOutFraction) return true;
    hold(group);
    return false;
  });
  left.sort((a, b) => a.tokens - b.tokens);
  while (held <= contextLength && left.length > 1) hold(left.shift()!);
  const part = (isHeldOut: boolean) =>
    concatenate(documents.filter((_, index) => chosen.has(index) === isHeldOut));
  const split = { train: part(false), heldOut: part(true), heldOutDocuments: chosen.size };
  if (Math.min(split.train.length, split.heldOut.length) <= contextLength) {
    const same = groups.size < documents.length ? ` (${groups.size} different)` : '';
    throw new CorpusError(
      `${documents.length} documents${same} with ${total} tokens are too few: ${split.train.length} for training and ` +
        `${split.heldOut.length} held out, where each part needs a context of ${contextLength} and one more, ${contextLength + 1}.`,
      'Add different documents, or use a shorter context.',
    );
  }
  return split;
}

function requireFraction(heldOutFraction: number): void {
  if (heldOutFraction > 0 && heldOutFraction < 1) return;
  throw new RangeError(
    `split the corpus: heldOutFraction is ${heldOutFraction}; it has to be between 0 and 1.`,
  );
}

/**
 * Cuts a text's tokens in two contiguous parts; views of the same memory. Contiguous, because
 * windows drawn from all over would leave neighbours of each held-out sentence in training. Throws
 * a CorpusError if a part is shorter than a context and one token, a RangeError for a fraction that
 * is not between 0 and 1.
 */
export function splitCorpus(
  tokens: Uint32Array,
  { contextLength, heldOutFraction = 0.1 }: Omit<SplitOptions, 'random'>,
): CorpusSplit {
  requireFraction(heldOutFraction);
  const cut = tokens.length - Math.round(tokens.length * heldOutFraction);
  const split = {
    train: tokens.subarray(0, cut),
    heldOut: tokens.subarray(cut),
    heldOutDocuments: 0,
  };
  const needed = contextLength + 1;
  const shorter = Math.min(split.train.length, split.heldOut.length);
  if (shorter < needed) {
    const enough = Math.ceil(needed / Math.min(heldOutFraction, 1 - heldOutFraction));
    throw new CorpusError(
      `${tokens.length} tokens are too few: ${split.train.length} for training and ${split.heldOut.length} held out, ` +
        `where each part needs a context of ${contextLength} and one more, ${needed}.`,
      `Use a text of ${enough} tokens or more, or a shorter context.`,
    );
  }
  return split;
}
