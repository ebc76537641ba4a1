// Batches of token windows: the training order, which is a function of the step number alone, and
// the held-out ones, which are fixed. B sequences in a batch, T tokens in a sequence; the target of
// a token is the one after it.

/** The target of a row that does not count, as in PyTorch. */
export const IGNORED_TARGET = -100;

export interface Batch {
  /** (B, T) token ids. */
  inputs: Uint32Array;
  /** (B, T) the ids that follow; IGNORED_TARGET where there is none. */
  targets: Int32Array;
}

export interface BatchesOptions {
  /** The training text. */
  tokens: Uint32Array;
  /** B. */
  batchSize: number;
  /** T. */
  contextLength: number;
  /** A fresh random source for an epoch: numbers in [0, 1), the same ones for the same epoch. */
  randomOf: (epoch: number) => () => number;
}

interface Epoch {
  number: number;
  /** Where the first window starts. */
  phase: number;
  /** Window numbers in the order of training. */
  order: Uint32Array;
}

function requireWindow(operation: string, tokens: Uint32Array, contextLength: number): void {
  if (tokens.length < contextLength + 1) {
    throw new RangeError(
      `${operation}: ${tokens.length} tokens hold no window of ${contextLength} + 1. ` +
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
 * Training batches. An epoch is a shuffled pass over windows that follow one another from a random
 * phase on, so that a token is a target at most once an epoch and its place in the window differs
 * from epoch to epoch. Sequences run on over the end of an epoch.
 */
export class Batches {
  readonly windowsPerEpoch: number;
  private epoch?: Epoch;

  /** Throws a RangeError if the text is shorter than a window of T + 1. */
  constructor(private readonly options: BatchesOptions) {
    const { tokens, contextLength } = options;
    requireWindow('make batches', tokens, contextLength);
    // As many windows as fit behind any phase, so that all epochs are of one length and a step's
    // epoch can be computed.
    this.windowsPerEpoch = Math.max(1, Math.floor((tokens.length - contextLength) / contextLength));
  }

  /** Batch number `index`, from 0 on: the same whatever was drawn before it. */
  at(index: number): Batch {
    const { tokens, batchSize, contextLength } = this.options;
    const batch = {
      inputs: new Uint32Array(batchSize * contextLength),
      targets: new Int32Array(batchSize * contextLength),
    };
    for (let row = 0; row < batchSize; row++) {
      const sequence = index * batchSize + row;
      const { phase, order } = this.epochAt(Math.floor(sequence / this.windowsPerEpoch));
      fillRow(
        batch,
        row,
        tokens,
        phase + order[sequence % this.windowsPerEpoch] * contextLength,
        contextLength,
      );
    }
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
 * At most `count` fixed batches of the held-out text, in its order: windows that share no target,
 * spread evenly over all of it. A text with fewer windows gives fewer batches, and the last one's
 * missing rows are ignored ones. Throws a RangeError if the text is shorter than a window of T + 1.
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
 * Row numbers ordered by token id, and by row where ids are equal: (B·T). The embedding's backward
 * adds up each token's rows in this order, so that its sums need no atomics and come out the same
 * each time.
 */
export function sortedRows(inputs: Uint32Array): Uint32Array {
  let highest = 0;
  for (const id of inputs) highest = Math.max(highest, id);
  const next = new Uint32Array(highest + 2); // counts first, then where the id's next row goes
  for (const id of inputs) next[id + 1]++;
  for (let id = 1; id < next.length; id++) next[id] += next[id - 1];
  const rows = new Uint32Array(inputs.length);
  for (let row = 0; row < inputs.length; row++) rows[next[inputs[row]]++] = row;
  return rows;
}
