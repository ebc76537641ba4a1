// The data of a run, from documents to batches, and a preview of it as text.

import type { Config } from '../config';
import { Batches, heldOutBatches } from '../data/batches';
import { splitDocuments } from '../data/split';
import type { Tokenizer } from '../data/tokenizer';
import { Random } from '../tensor/random';
import type { DataFacts } from './records';

/** Rows of a batch that a preview shows. */
const ROWS_SHOWN = 8;

/**
 * Training and held-out batches of (B, T), which depend on the documents and the seed alone.
 * @param documents the token ids of each
 * @throws CorpusError if they have too few tokens
 */
export function prepareData(documents: readonly Uint32Array[], config: Config) {
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
  const batches = new Batches({
    tokens: train,
    batchSize: B,
    contextLength: T,
    randomOf: (epoch) => randomNumbers(`epoch ${epoch}`),
  });
  return {
    tokens: { train, heldOut },
    trainTokens: train.length,
    heldOutTokens: heldOut.length,
    heldOutDocuments,
    batches,
    /** (V) how often each token is in the training text. */
    frequencies: (V: number) => countTokens(train, V),
    /** Facts for the Doctor. */
    describe: (tokenizer: Tokenizer) =>
      describeData(documents, { train, heldOut, windows: batches.windowsPerEpoch }, tokenizer),
    heldOut: heldOutBatches(heldOut, B, T, eval_batches),
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
  documents: readonly Uint32Array[],
  { train, heldOut, windows }: { train: Uint32Array; heldOut: Uint32Array; windows: number },
  tokenizer: Pick<Tokenizer, 'decode' | 'vocabularySize'>,
): DataFacts {
  const V = tokenizer.vocabularySize;
  const counts = countTokens(train, V);
  let loss = 0;
  for (const id of heldOut) loss -= Math.log((counts[id] + 1) / (train.length + V));
  const most = counts.reduce((best, times, id) => (times > counts[best] ? id : best), 0);
  const lengths = documents.map(({ length }) => length).sort((a, b) => a - b);
  const text = tokenizer.decode(Array.from(train.subarray(0, MEASURED_TOKENS)));
  return {
    documents: documents.length,
    medianDocument: lengths[Math.floor(lengths.length / 2)],
    trainTokens: train.length,
    heldOutTokens: heldOut.length,
    windows,
    bytesPerToken: new TextEncoder().encode(text).length / Math.min(MEASURED_TOKENS, train.length),
    mostFrequent: { text: tokenizer.decode([most]), share: counts[most] / train.length },
    unigramPerplexity: Math.exp(loss / heldOut.length),
  };
}

/** What a run with these settings would train on. */
export interface DataPreview {
  documents: number;
  /** 0 if the end of a single document is held out. */
  heldOutDocuments: number;
  trainTokens: number;
  heldOutTokens: number;
  /** The first rows of the first training batch as text, split at end-of-text tokens. */
  rows: string[][];
  /** B. */
  batchSize: number;
  /** The text of that token, if the tokenizer has one. */
  endOfText?: string;
}

export function previewData(
  documents: readonly Uint32Array[],
  config: Config,
  tokenizer: Tokenizer,
): DataPreview {
  const { batches, heldOutDocuments, trainTokens, heldOutTokens } = prepareData(documents, config);
  const { batch_size: B, max_length: T } = config;
  const { endOfText } = tokenizer;
  const { inputs } = batches.at(0);
  const rows = Array.from({ length: Math.min(B, ROWS_SHOWN) }, (_, row) => {
    const texts: number[][] = [[]];
    for (const id of inputs.subarray(row * T, (row + 1) * T)) {
      if (id === endOfText) texts.push([]);
      else texts[texts.length - 1].push(id);
    }
    return texts.map((ids) => tokenizer.decode(ids));
  });
  return {
    documents: documents.length,
    heldOutDocuments,
    trainTokens,
    heldOutTokens,
    rows,
    batchSize: B,
    endOfText: endOfText === undefined ? undefined : tokenizer.decode([endOfText]),
  };
}
