// The data of a run, from documents to batches, and a preview of it as text.

import type { Config } from '../config';
import { Batches, heldOutBatches, IGNORED_TARGET } from '../data/batches';
import { type JoinedTokens, splitDocuments } from '../data/split';
import type { Tokenizer, Tokens } from '../data/tokenizer';
import { Random } from '../tensor/random';
import type { DataFacts } from './records';

/** Rows of a batch that a preview shows. */
const ROWS_SHOWN = 8;

/**
 * Training and held-out batches of (B, T), which depend on the documents and the seed alone.
 * @throws CorpusError if they have too few tokens
 */
export function prepareData(documents: readonly Tokens[], config: Config) {
  const { batch_size: B, max_length: T, seed, eval_batches } = config;
  const random = new Random(seed);
  const randomNumbers = (name: string) => {
    const stream = random.fork(name);
    return () => stream.uniform();
  };
  const { train, heldOut, heldOutDocuments } = splitDocuments(documents, {
    contextLength: T,
    random: randomNumbers('held out'),
  });
  const textOf = ({ ids, learned, documents, aligned }: JoinedTokens) => ({
    tokens: ids,
    learned,
    ...(config.packing !== 'on' && {
      documents: { begin: documents, rows: config.packing === 'off' ? 'alone' : 'masked' } as const,
    }),
    aligned,
  });
  const batches = new Batches({
    ...textOf(train),
    batchSize: B,
    contextLength: T,
    randomOf: (epoch) => randomNumbers(`epoch ${epoch}`),
  });
  return {
    joined: { train, heldOut },
    trainTokens: train.ids.length,
    heldOutTokens: heldOut.ids.length,
    heldOutDocuments,
    /** Undefined if every token is learned. */
    learnedShare: learnedShare(train),
    /** Groups of tokens that a loss can compare, if the teacher has another vocabulary. */
    spans: train.aligned?.groups.compared.reduce((sum, one) => sum + one, 0),
    batches,
    /** (V) how often each token is in the training text. */
    frequencies: (V: number) => countTokens(train.ids, V),
    /** Facts for the Doctor. */
    describe: (tokenizer: Tokenizer) =>
      describeData(documents, { train, heldOut, windows: batches.windowsPerEpoch }, tokenizer),
    heldOut: heldOutBatches({ ...textOf(heldOut), aligned: undefined }, B, T, eval_batches),
  };
}

/** Tokens whose text is measured. */
const MEASURED_TOKENS = 4096;

function countTokens(tokens: Uint32Array, V: number): Uint32Array {
  const counts = new Uint32Array(V);
  for (const id of tokens) counts[id]++;
  return counts;
}

/** Facts about a run's text, from a pass over its token ids. */
function describeData(
  documents: readonly Tokens[],
  split: { train: Tokens; heldOut: Tokens; windows: number },
  tokenizer: Pick<Tokenizer, 'decode' | 'vocabularySize'>,
): DataFacts {
  const V = tokenizer.vocabularySize;
  const [train, heldOut] = [split.train.ids, split.heldOut.ids];
  const counts = countTokens(train, V);
  const learned = learnedShare(split.train);
  const predicted = heldOut.filter((_, i) => split.heldOut.learned?.[i] !== 0);
  let loss = 0;
  for (const id of predicted) loss -= Math.log((counts[id] + 1) / (train.length + V));
  const most = counts.reduce((best, times, id) => (times > counts[best] ? id : best), 0);
  const lengths = documents.map(({ ids }) => ids.length).sort((a, b) => a - b);
  const text = tokenizer.decode(Array.from(train.subarray(0, MEASURED_TOKENS)));
  return {
    documents: documents.length,
    medianDocument: lengths[Math.floor(lengths.length / 2)],
    trainTokens: train.length,
    heldOutTokens: heldOut.length,
    windows: split.windows,
    bytesPerToken: new TextEncoder().encode(text).length / Math.min(MEASURED_TOKENS, train.length),
    mostFrequent: { text: tokenizer.decode([most]), share: counts[most] / train.length },
    unigramPerplexity: Math.exp(loss / predicted.length),
    ...(learned !== undefined && { learnedShare: learned }),
  };
}

/** Undefined if every token is learned. */
function learnedShare({ ids, learned }: Tokens): number | undefined {
  return learned && learned.reduce((sum, one) => sum + one, 0) / ids.length;
}

/** A piece of a previewed row. */
export interface PreviewPart {
  text: string;
  /** The end-of-text token, if all tokens are learned. */
  end?: true;
  /** Its tokens are targets. Marked only where others are not. */
  learned?: true;
  /** Attention begins again with it: another document begins inside the row. */
  begins?: true;
}

/** What a run with these settings would train on. */
export interface DataPreview {
  documents: number;
  /** 0 if the end of a single document is held out. */
  heldOutDocuments: number;
  trainTokens: number;
  heldOutTokens: number;
  /** Share of the training tokens that are learned; undefined if all are. */
  learnedShare?: number;
  /** Share of the positions that hold text: less than 1 where a row holds one document. */
  filledShare: number;
  /**
   * The first rows of the first training batch as text, split at end-of-text tokens; or, where not
   * all tokens are learned, into those that are and those that are not. Also split where attention
   * begins again.
   */
  rows: PreviewPart[][];
  /** B. */
  batchSize: number;
  /** The text of that token, if the tokenizer has one. */
  endOfText?: string;
  /** Attention stays inside each document. */
  masked: boolean;
}

export function previewData(
  documents: readonly Tokens[],
  config: Config,
  tokenizer: Tokenizer,
): DataPreview {
  const { batches, ...data } = prepareData(documents, config);
  const { batch_size: B, max_length: T } = config;
  const { endOfText } = tokenizer;
  const { inputs, targets, filled, documents: spans } = batches.at(0);
  const marksLearned = data.learnedShare !== undefined;
  type Kind = Omit<PreviewPart, 'text'>;
  /** The first token of a row is no target. */
  const kindOf = (i: number): Kind => {
    if (marksLearned)
      return i % T > 0 && targets[i - 1] !== IGNORED_TARGET ? { learned: true } : {};
    return inputs[i] === endOfText ? { end: true } : {};
  };
  const rows = Array.from({ length: Math.min(B, ROWS_SHOWN) }, (_, row) => {
    const parts: { ids: number[]; kind: Kind }[] = [];
    for (let i = row * T; i < row * T + (filled?.[row] ?? T); i++) {
      const kind = kindOf(i);
      const last = parts.at(-1);
      const begins = i % T > 0 && spans?.[2 * i] === i % T;
      const goesOn = !begins && !kind.end && !last?.kind.end && kind.learned === last?.kind.learned;
      if (last && goesOn) last.ids.push(inputs[i]);
      else parts.push({ ids: [inputs[i]], kind: { ...kind, ...(begins && { begins }) } });
    }
    return parts.map(({ ids, kind }) => ({ text: tokenizer.decode(ids), ...kind }));
  });
  return {
    documents: documents.length,
    heldOutDocuments: data.heldOutDocuments,
    trainTokens: data.trainTokens,
    heldOutTokens: data.heldOutTokens,
    learnedShare: data.learnedShare,
    filledShare: batches.filledShare,
    rows,
    masked: spans !== undefined,
    batchSize: B,
    endOfText: endOfText === undefined ? undefined : tokenizer.decode([endOfText]),
  };
}
