// Batches of token windows. Training batches depend on the seed and their index alone; held-out
// batches are fixed. A batch has B sequences of T tokens; a token's target is the one after it.

/** The target of a position that does not count, as in PyTorch. */
export const IGNORED_TARGET = -100;

export interface Batch {
  /** Its number in the training order, or its place among the held-out batches; 0 for the first. */
  index: number;
  /** (B, T) token ids. */
  inputs: Uint32Array;
  /** (B, T) the id after each token; IGNORED_TARGET for a position that does not count. */
  targets: Int32Array;
}

export interface BatchesOptions {
  /** The training text. */
  tokens: Uint32Array;
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

/** Writes the window that starts at `start` into a row of the batch. */
function fillRow(
  batch: Batch,
  row: number,
  tokens: Uint32Array,
  start: number,
  contextLength: number,
): void {
  batch.inputs.set(tokens.subarray(start, start + contextLength), row * contextLength);
  batch.targets.set(tokens.subarray(start + 1, start + contextLength + 1), row * contextLength);
}

/**
 * Training batches. An epoch is a shuffled pass over adjacent windows, the first of which starts at
 * a random phase: a token is a target at most once an epoch, and its position in the window differs
 * from epoch to epoch. A batch may span two epochs.
 */
export class Batches {
  readonly windowsPerEpoch: number;
  private epoch?: Epoch;

  /** @throws RangeError if the text is shorter than a window of T + 1 */
  constructor(private readonly options: BatchesOptions) {
    const { tokens, contextLength } = options;
    requireWindow('make batches', tokens, contextLength);
    // As many windows as fit after any phase: all epochs have one length, so the epoch of a batch
    // follows from its index.
    this.windowsPerEpoch = Math.max(1, Math.floor((tokens.length - contextLength) / contextLength));
  }

  /** The tokens at which the windows of batch `index` start. */
  starts(index: number): number[] {
    const { batchSize, contextLength } = this.options;
    return Array.from({ length: batchSize }, (_, row) => {
      const sequence = index * batchSize + row;
      const { phase, order } = this.epochAt(Math.floor(sequence / this.windowsPerEpoch));
      return phase + order[sequence % this.windowsPerEpoch] * contextLength;
    });
  }

  /** Batch `index`, 0 for the first. Does not depend on earlier calls. */
  at(index: number): Batch {
    const { tokens, batchSize, contextLength } = this.options;
    const batch = {
      index,
      inputs: new Uint32Array(batchSize * contextLength),
      targets: new Int32Array(batchSize * contextLength),
    };
    for (const [row, start] of this.starts(index).entries())
      fillRow(batch, row, tokens, start, contextLength);
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
  tokens: Uint32Array,
  batchSize: number,
  contextLength: number,
  count: number,
): Batch[] {
  requireWindow('make held-out batches', tokens, contextLength);
  const available = Math.floor((tokens.length - 1) / contextLength);
  const used = Math.min(available, batchSize * count);
  return Array.from({ length: Math.ceil(used / batchSize) }, (_, index) => {
    const batch = {
      index,
      inputs: new Uint32Array(batchSize * contextLength),
      targets: new Int32Array(batchSize * contextLength).fill(IGNORED_TARGET),
    };
    for (let row = 0; row < batchSize && index * batchSize + row < used; row++) {
      const window = Math.floor(((index * batchSize + row) * available) / used);
      fillRow(batch, row, tokens, window * contextLength, contextLength);
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
