// What a run reads, from documents to batches; and the same as text, so that people can look at it
// before the run starts.

import type { Config } from '../config';
import { Batches, heldOutBatches } from '../data/batches';
import { splitDocuments } from '../data/split';
import type { Tokenizer } from '../data/tokenizer';
import { Random } from '../tensor/random';

/** Rows of a batch that are shown; more are of the same kind. */
const ROWS_SHOWN = 8;

/**
 * Training and held-out batches of (B, T), both functions of the seed. `documents` are token ids.
 * Throws a CorpusError for too few.
 */
export function prepareData(documents: readonly Uint32Array[], config: Config) {
  const { batch_size: B, max_length: T, seed, eval_batches } = config;
  const random = new Random(seed);
  const drawn = (name: string) => {
    const stream = random.fork(name);
    return () => stream.uniform();
  };
  const { train, heldOut, heldOutDocuments } = splitDocuments(documents, {
    contextLength: T,
    random: drawn('held out'),
  });
  return {
    trainTokens: train.length,
    heldOutTokens: heldOut.length,
    heldOutDocuments,
    batches: new Batches({
      tokens: train,
      batchSize: B,
      contextLength: T,
      randomOf: (epoch) => drawn(`epoch ${epoch}`),
    }),
    heldOut: heldOutBatches(heldOut, B, T, eval_batches),
  };
}

/** What a run would read with these settings. */
export interface DataPreview {
  documents: number;
  /** 0 where the end of a single document is held out. */
  heldOutDocuments: number;
  trainTokens: number;
  heldOutTokens: number;
  /** The first training batch's first rows as text, parted where an end-of-text token stands. */
  rows: string[][];
  /** B. */
  batchSize: number;
  /** How that token is written, if the tokenizer has one. */
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
    const parts: number[][] = [[]];
    for (const id of inputs.subarray(row * T, (row + 1) * T)) {
      if (id === endOfText) parts.push([]);
      else parts[parts.length - 1].push(id);
    }
    return parts.map((ids) => tokenizer.decode(ids));
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
