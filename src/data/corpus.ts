// A text from its bytes, and the part of it that training never sees.

/** The largest text that is taken, in bytes. */
export const MAX_CORPUS_BYTES = 20_000_000;

/** A text that cannot be used. `hint` says what can be done next. */
export class CorpusError extends Error {
  override name = 'CorpusError';
  readonly operation = 'read the corpus';
  constructor(
    message: string,
    readonly hint: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toLocaleString('en', { maximumFractionDigits: 1 })} MB`;

/**
 * Where bytes stop being UTF-8: the offset of the first byte that cannot follow those before it; their length if they
 * only end too soon.
 */
function firstBadByte(bytes: Uint8Array): number {
  const isPrefixValid = (length: number) => {
    try {
      // stream: a character that the end of the prefix cuts in two is no error.
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, length), { stream: true });
      return true;
    } catch {
      return false;
    }
  };
  let valid = 0;
  let invalid = bytes.length + 1;
  while (invalid - valid > 1) {
    const middle = (valid + invalid) >> 1;
    if (middle <= bytes.length && isPrefixValid(middle)) valid = middle;
    else invalid = middle;
  }
  return valid;
}

/**
 * The text of a UTF-8 file, without a byte order mark and with `\n` line breaks.
 * Throws a CorpusError that names the file: over 20 MB, nothing but white space, or not UTF-8.
 */
export function decodeCorpus(name: string, bytes: ArrayBuffer | Uint8Array): string {
  const view = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  if (view.length > MAX_CORPUS_BYTES) {
    throw new CorpusError(
      `${name}: ${megabytes(view.length)}, and at most ${megabytes(MAX_CORPUS_BYTES)} can be used.`,
      'Take a part of the text.',
    );
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(view);
  } catch (cause) {
    const offset = firstBadByte(view);
    const what =
      offset === view.length
        ? 'the last character is cut short'
        : `byte ${offset} is 0x${view[offset].toString(16).padStart(2, '0')}`;
    throw new CorpusError(`${name}: not UTF-8 (${what}, of ${view.length} bytes).`, 'Save it as plain text in UTF-8.', {
      cause,
    });
  }
  if (text.trim() === '') {
    throw new CorpusError(`${name}: no text in it (${view.length} bytes).`, 'Choose a file with text.');
  }
  return text.replace(/\r\n?/g, '\n');
}

export interface CorpusSplit {
  /** For training: the first part of the text. */
  train: Uint32Array;
  /** For evaluation: the rest. No token is in both. */
  heldOut: Uint32Array;
}

export interface SplitOptions {
  /** Tokens of context (T). Each part holds at least one window of T + 1 tokens. */
  contextLength: number;
  /** Share of the tokens kept for evaluation, between 0 and 1. */
  heldOutFraction?: number;
}

/**
 * Cuts a text's tokens in two contiguous parts; views of the same memory. Contiguous, because windows drawn from all
 * over would leave neighbours of each held-out sentence in training. Throws a CorpusError if a part is shorter than a
 * context and one token, a RangeError for a fraction that is not between 0 and 1.
 */
export function splitCorpus(tokens: Uint32Array, { contextLength, heldOutFraction = 0.1 }: SplitOptions): CorpusSplit {
  if (!(heldOutFraction > 0 && heldOutFraction < 1)) {
    throw new RangeError(`split the corpus: heldOutFraction is ${heldOutFraction}; it has to be between 0 and 1.`);
  }
  const cut = tokens.length - Math.round(tokens.length * heldOutFraction);
  const split = { train: tokens.subarray(0, cut), heldOut: tokens.subarray(cut) };
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
