// Batches of token windows. Training batches depend on the seed and their index alone; held-out
// batches are fixed. A batch has B sequences of T tokens; a token's target is the one after it.

import { type Aligned, type AlignedBatch, emptyAligned, fillAligned, oneDocument } from './aligned';
import { IGNORED_TARGET } from './targets';

export { IGNORED_TARGET };

export interface Batch {
  /** Its number in the training order, or its place among the held-out batches; 0 for the first. */
  index: number;
  /** (B, T) token ids. */
  inputs: Uint32Array;
  /** (B, T) the id after each token; IGNORED_TARGET for a position that does not count. */
  targets: Int32Array;
  /** (B) tokens at the start of each row that are of the text; without it, all T are. */
  filled?: Uint32Array;
  /**
   * (B, T, 2) where in its row each token's document begins, and where the next one does. A token
   * then attends to its own document alone. Without it, a row is one text.
   */
  documents?: Uint32Array;
  /** The same text as a teacher with another vocabulary reads it. */
  aligned?: AlignedBatch;
}

/** A text as its batches read it. */
interface BatchText {
  tokens: Uint32Array;
  /** 1 for each token that counts as a target; all do without it. */
  learned?: Uint8Array;
  /**
   * Where each document begins. Without it, rows are windows of one long text, and attention sees
   * all of a row.
   */
  documents?: {
    begin: readonly number[];
    /**
     * `alone`: a row holds one document, or a part of one that is longer than a row. `masked`: rows
     * are windows, and each token attends to its own document.
     */
    rows: 'alone' | 'masked';
  };
  aligned?: Aligned;
}

/** The text's documents, if rows hold each alone. */
const alone = ({ documents }: BatchText) =>
  documents?.rows === 'alone' ? documents.begin : undefined;

export interface BatchesOptions extends BatchText {
  /** B. */
  batchSize: number;
  /** T. */
  contextLength: number;
  /** A new random source for an epoch, in [0, 1): the same numbers for the same epoch. */
  randomOf: (epoch: number) => () => number;
}

interface Epoch {
  number: number;
  /** Token at which the first window starts. */
  phase: number;
  /** Windows in training order. */
  order: Uint32Array;
}

function requireWindow(operation: string, tokens: Uint32Array, contextLength: number): void {
  if (tokens.length < contextLength + 1) {
    throw new RangeError(
      `${operation}: ${tokens.length} tokens are too few for a window of ${contextLength} + 1. ` +
        'Use a longer text or a shorter context.',
    );
  }
}

/** Targets of a row: those after its first token. */
interface Window {
  start: number;
  targets: number;
}

/** Each document alone, cut into parts of at most T targets. A last token predicts nothing. */
function windowsOf(documents: readonly number[], tokens: number, T: number): Window[] {
  return documents.flatMap((first, index) => {
    const targets = (documents[index + 1] ?? tokens) - first - 1;
    return Array.from({ length: Math.ceil(Math.max(0, targets) / T) }, (_, part) => ({
      start: first + part * T,
      targets: Math.min(T, targets - part * T),
    }));
  });
}

/** A batch without tokens: all of its targets are ignored. */
const emptyBatch = (
  index: number,
  B: number,
  T: number,
  { documents, aligned }: BatchText,
): Batch => ({
  index,
  inputs: new Uint32Array(B * T),
  targets: new Int32Array(B * T).fill(IGNORED_TARGET),
  ...(documents?.rows === 'alone' && { filled: new Uint32Array(B) }),
  ...(documents?.rows === 'masked' && { documents: oneDocument(B, T) }),
  ...(aligned && { aligned: emptyAligned(index, B, T, documents?.rows === 'masked') }),
});

/**
 * Marks the documents of a window in a row of a batch. A document's first token is no target: the
 * token before it is of another text.
 */
function markDocuments(
  { documents, targets }: Batch,
  row: number,
  begin: readonly number[],
  T: number,
  { start, targets: count }: Window,
): void {
  let next = begin.findIndex((first) => first > start); // the document after that of the token
  if (next < 0) next = begin.length;
  for (let i = 0; i < count; i++) {
    while (begin[next] <= start + i) next++;
    const end = (begin[next] ?? Number.POSITIVE_INFINITY) - start;
    const at = row * T + i;
    documents?.set([Math.max(0, begin[next - 1] - start), Math.min(end, T)], 2 * at);
    if (end === i + 1) targets[at] = IGNORED_TARGET;
  }
}

/** Writes a window into a row of an empty batch. */
function fillRow(batch: Batch, row: number, text: BatchText, T: number, window: Window): void {
  const { tokens, learned, aligned } = text;
  const { start, targets } = window;
  const first = row * T;
  batch.inputs.set(tokens.subarray(start, start + targets), first);
  batch.targets.set(tokens.subarray(start + 1, start + targets + 1), first);
  if (batch.filled) batch.filled[row] = targets;
  if (batch.documents) markDocuments(batch, row, text.documents?.begin ?? [], T, window);
  for (let i = 0; learned && i < targets; i++)
    if (learned[start + 1 + i] === 0) batch.targets[first + i] = IGNORED_TARGET;
  if (!batch.aligned || !aligned) return;
  const counted = batch.targets.subarray(first, first + targets);
  fillAligned(batch.aligned, row, aligned, start, counted, T, text.documents?.begin);
}

/**
 * Training batches. An epoch is a shuffled pass over adjacent windows, the first of which starts at
 * a random phase: a token is a target at most once an epoch, and its position in the window differs
 * from epoch to epoch. Rows that hold a document alone always begin where it does. A batch may span
 * two epochs.
 */
export class Batches {
  readonly windowsPerEpoch: number;
  /** Share of an epoch's positions that hold tokens of the text. */
  readonly filledShare: number;
  /** Each document's parts, if rows hold documents alone. */
  private readonly alone?: readonly Window[];
  private epoch?: Epoch;

  /** @throws RangeError if the text is shorter than a window of T + 1 */
  constructor(private readonly options: BatchesOptions) {
    const { tokens, contextLength } = options;
    requireWindow('make batches', tokens, contextLength);
    // As many windows as fit after any phase: all epochs have one length, so the epoch of a batch
    // follows from its index.
    const documents = alone(options);
    this.alone = documents && windowsOf(documents, tokens.length, contextLength);
    this.windowsPerEpoch =
      this.alone?.length ??
      Math.max(1, Math.floor((tokens.length - contextLength) / contextLength));
    const filled = this.alone?.reduce((sum, { targets }) => sum + targets, 0);
    this.filledShare = filled === undefined ? 1 : filled / (this.windowsPerEpoch * contextLength);
  }

  /** The tokens at which the windows of batch `index` start. */
  starts(index: number): number[] {
    return this.windows(index).map(({ start }) => start);
  }

  private windows(index: number): Window[] {
    const { batchSize, contextLength } = this.options;
    return Array.from({ length: batchSize }, (_, row) => {
      const sequence = index * batchSize + row;
      const { phase, order } = this.epochAt(Math.floor(sequence / this.windowsPerEpoch));
      const window = order[sequence % this.windowsPerEpoch];
      const start = phase + window * contextLength;
      return this.alone?.[window] ?? { start, targets: contextLength };
    });
  }

  /** Batch `index`, 0 for the first. Does not depend on earlier calls. */
  at(index: number): Batch {
    const { batchSize, contextLength } = this.options;
    const batch = emptyBatch(index, batchSize, contextLength, this.options);
    for (const [row, window] of this.windows(index).entries())
      fillRow(batch, row, this.options, contextLength, window);
    return batch;
  }

  private epochAt(number: number): Epoch {
    if (this.epoch?.number === number) return this.epoch;
    const { tokens, contextLength, randomOf } = this.options;
    const random = randomOf(number);
    const lastPhase = Math.min(
      contextLength - 1,
      tokens.length - 1 - this.windowsPerEpoch * contextLength,
    );
    const phase = Math.floor(random() * (lastPhase + 1));
    const order = Uint32Array.from({ length: this.windowsPerEpoch }, (_, window) => window);
    for (let last = order.length - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [order[last], order[other]] = [order[other], order[last]];
    }
    this.epoch = { number, phase, order };
    return this.epoch;
  }
}

/**
 * At most `count` fixed batches, in the order of the held-out text: windows without a common
 * target, spread evenly over the text. A short text gives fewer batches; missing rows of the last
 * one are ignored.
 * @throws RangeError if the text is shorter than a window of T + 1
 */
export function heldOutBatches(
  text: BatchText,
  batchSize: number,
  contextLength: number,
  count: number,
): Batch[] {
  const { tokens } = text;
  const documents = alone(text);
  requireWindow('make held-out batches', tokens, contextLength);
  const windows = documents && windowsOf(documents, tokens.length, contextLength);
  const available = windows?.length ?? Math.floor((tokens.length - 1) / contextLength);
  const used = Math.min(available, batchSize * count);
  return Array.from({ length: Math.ceil(used / batchSize) }, (_, index) => {
    const batch = emptyBatch(index, batchSize, contextLength, text);
    for (let row = 0; row < batchSize && index * batchSize + row < used; row++) {
      const window = Math.floor(((index * batchSize + row) * available) / used);
      const one = windows?.[window] ?? { start: window * contextLength, targets: contextLength };
      fillRow(batch, row, text, contextLength, one);
    }
    return batch;
  });
}

/**
 * Row numbers (B·T) ordered by token id, and by row where ids are equal. The embedding's backward
 * sums each token's rows in this order, so it needs no atomics and gives the same bits every time.
 */
export function sortedRows(inputs: Uint32Array): Uint32Array {
  let highest = 0;
  for (const id of inputs) highest = Math.max(highest, id);
  const next = new Uint32Array(highest + 2); // counts, then the place of each id's next row
  for (const id of inputs) next[id + 1]++;
  for (let id = 1; id < next.length; id++) next[id] += next[id - 1];
  const rows = new Uint32Array(inputs.length);
  for (let row = 0; row < inputs.length; row++) rows[next[inputs[row]]++] = row;
  return rows;
}
