// Decodes a text file, and explains why a file is not UTF-8 text. documents.ts reads files with
// many documents.

/** The largest accepted text, in bytes. */
export const MAX_CORPUS_BYTES = 20_000_000;

/** A text that cannot be used. `hint` says what to do next. */
export class CorpusError extends Error {
  override name = 'CorpusError';
  readonly operation = 'read the corpus';
  /** The longest context, in tokens, that a text which is too short is enough for. */
  longestContext?: number;
  constructor(
    message: string,
    readonly hint: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const megabytes = (bytes: number) =>
  `${(bytes / 1e6).toLocaleString('en', { maximumFractionDigits: 1 })} MB`;

/**
 * The offset of the first byte that cannot follow those before it in UTF-8; the number of bytes, if
 * they only end too early. Bisects, because decoding says only whether a prefix is valid.
 */
function firstBadByte(bytes: Uint8Array): number {
  const isPrefixValid = (length: number) => {
    try {
      // stream: a character cut by the end of the prefix is not an error.
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

const hex = (byte: number) => `0x${byte.toString(16).padStart(2, '0')}`;

/** Describes the first invalid byte: the lead byte of a broken character, not the byte after it. */
function describeBadByte(bytes: Uint8Array): string {
  const offset = firstBadByte(bytes);
  let start = offset;
  while (start > 0 && offset - start < 3 && bytes[start - 1] >> 6 === 0b10) start--;
  // The lead byte of an unfinished character is at most three bytes back. ASCII is not a lead byte.
  if (start > 0 && bytes[start - 1] >= 0xc2) start--;
  else start = offset;
  if (offset === bytes.length)
    return `its last character, at byte ${start} (${hex(bytes[start])}), is incomplete`;
  const what = `byte ${start} is ${hex(bytes[start])}`;
  // In Latin-1, bytes from 0xa0 on are the characters U+00A0 to U+00FF.
  const latin1 = bytes[start] >= 0xa0 ? ` (“${String.fromCharCode(bytes[start])}” in Latin-1)` : '';
  return start === offset
    ? `${what}${latin1}, which starts no UTF-8 character`
    : `${what}${latin1}, and ${hex(bytes[offset])} cannot follow it in UTF-8`;
}

/** Why bytes are not UTF-8 text at all: UTF-16, by its mark or its zeros, or binary, by a zero. */
function notText(bytes: Uint8Array): string | undefined {
  const utf16 = (order: string, reason: string) => `UTF-16, ${order} (${reason}); expected UTF-8`;
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe)
    return utf16('little-endian', 'it starts with the mark 0xff 0xfe');
  if (first === 0xfe && second === 0xff)
    return utf16('big-endian', 'it starts with the mark 0xfe 0xff');
  const zero = bytes.indexOf(0);
  if (zero < 0) return undefined;
  const zeros = [0, 0];
  for (let i = zero; i < bytes.length; i++) if (bytes[i] === 0) zeros[i % 2]++;
  // In UTF-16, every second byte of an English text is zero; in other scripts, at least those of
  // spaces and line breaks.
  const where = `byte ${zero} is 0x00`;
  if (zeros[0] === 0 && zeros[1] > bytes.length / 8)
    return utf16('little-endian', `${where}, like many odd bytes and no even one`);
  if (zeros[1] === 0 && zeros[0] > bytes.length / 8)
    return utf16('big-endian', `${where}, like many even bytes and no odd one`);
  return `not text (${where}); expected UTF-8 text`;
}

/**
 * The text of a UTF-8 file, without a byte order mark and with `\n` line breaks.
 * @throws CorpusError, naming the file, if it is over 20 MB, blank, UTF-16, binary or not UTF-8
 */
export function decodeCorpus(name: string, bytes: ArrayBuffer | Uint8Array): string {
  const view = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  if (view.length > MAX_CORPUS_BYTES) {
    throw new CorpusError(
      `${name}: ${megabytes(view.length)}, but the limit is ${megabytes(MAX_CORPUS_BYTES)}.`,
      'Use a part of the text.',
    );
  }
  const problem = notText(view);
  if (problem) throw new CorpusError(`${name}: ${problem}.`, 'Save it as plain text in UTF-8.');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(withLineFeeds(view));
  } catch (cause) {
    throw new CorpusError(
      `${name}: not UTF-8 (${describeBadByte(view)}; ${view.length} bytes).`,
      'Save it as plain text in UTF-8.',
      { cause },
    );
  }
  if (text.trim() === '') {
    throw new CorpusError(
      `${name}: there is no text in it (${view.length} bytes).`,
      'Choose a file with text.',
    );
  }
  return text;
}

const [CARRIAGE_RETURN, LINE_FEED] = [13, 10];

/** UTF-8 with `\n` for each `\r\n` and `\r`. In the text, replacing millions would take seconds. */
function withLineFeeds(bytes: Uint8Array): Uint8Array {
  if (!bytes.includes(CARRIAGE_RETURN)) return bytes;
  const normal = new Uint8Array(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const isReturn = bytes[i] === CARRIAGE_RETURN;
    normal[length++] = isReturn ? LINE_FEED : bytes[i];
    if (isReturn && bytes[i + 1] === LINE_FEED) i++;
  }
  return normal.subarray(0, length);
}
