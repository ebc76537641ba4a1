// A text from its bytes, and the cut of a single text for evaluation. Texts of many documents:
// documents.ts and split.ts.

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

const megabytes = (bytes: number) =>
  `${(bytes / 1e6).toLocaleString('en', { maximumFractionDigits: 1 })} MB`;

/**
 * Where bytes stop being UTF-8: the offset of the first byte that cannot follow those before it;
 * their length if they only end too soon.
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

const hex = (byte: number) => `0x${byte.toString(16).padStart(2, '0')}`;

/**
 * What stands where the bytes stop being UTF-8: the lead byte of a broken character rather than the
 * innocent one after it.
 */
function describeBadByte(bytes: Uint8Array): string {
  const offset = firstBadByte(bytes);
  let start = offset;
  while (start > 0 && offset - start < 3 && bytes[start - 1] >> 6 === 0b10) start--;
  // Up to three bytes back stands a lead byte, if a character was begun; ASCII has nothing to
  // continue.
  if (start > 0 && bytes[start - 1] >= 0xc2) start--;
  else start = offset;
  if (offset === bytes.length)
    return `its last character, from byte ${start} (${hex(bytes[start])}) on, is cut short`;
  const what = `byte ${start} is ${hex(bytes[start])}`;
  // From 0xa0 on Latin-1 has letters and signs, and U+00A0 to U+00FF are the same ones.
  const latin1 = bytes[start] >= 0xa0 ? `, in Latin-1 “${String.fromCharCode(bytes[start])}”` : '';
  return start === offset
    ? `${what}${latin1}, which begins no character of UTF-8`
    : `${what}${latin1}, and ${hex(bytes[offset])} cannot follow it in UTF-8`;
}

/**
 * Why bytes are not text at all, if they are not: UTF-16 by its mark or its zeros, or a zero that
 * no text has.
 */
function notText(bytes: Uint8Array): string | undefined {
  const utf16 = (order: string, sign: string) =>
    `in UTF-16, ${order} (${sign}), where UTF-8 was expected`;
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe)
    return utf16('little-endian', 'byte 0 is 0xff and byte 1 0xfe, its mark');
  if (first === 0xfe && second === 0xff)
    return utf16('big-endian', 'byte 0 is 0xfe and byte 1 0xff, its mark');
  const zero = bytes.indexOf(0);
  if (zero < 0) return undefined;
  const zeros = [0, 0];
  for (let i = zero; i < bytes.length; i++) if (bytes[i] === 0) zeros[i % 2]++;
  // English in UTF-16 has a zero in every second place; other scripts at least at line breaks and
  // spaces.
  const where = `byte ${zero} is 0x00`;
  if (zeros[0] === 0 && zeros[1] > bytes.length / 8)
    return utf16('little-endian', `${where}, as are most in its places`);
  if (zeros[1] === 0 && zeros[0] > bytes.length / 8)
    return utf16('big-endian', `${where}, as are most in its places`);
  return `not text (${where}), where text in UTF-8 was expected`;
}

/**
 * The text of a UTF-8 file, without a byte order mark and with `\n` line breaks. Throws a
 * CorpusError that names the file: over 20 MB, nothing but white space, UTF-16, binary, or not
 * UTF-8.
 */
export function decodeCorpus(name: string, bytes: ArrayBuffer | Uint8Array): string {
  const view = bytes instanceof Uint8Array ? bytes : new Uint8Array(bytes);
  if (view.length > MAX_CORPUS_BYTES) {
    throw new CorpusError(
      `${name}: ${megabytes(view.length)}, and at most ${megabytes(MAX_CORPUS_BYTES)} can be used.`,
      'Take a part of the text.',
    );
  }
  const wrong = notText(view);
  if (wrong) {
    throw new CorpusError(`${name}: ${wrong}.`, 'Save it as plain text in UTF-8.');
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(view);
  } catch (cause) {
    throw new CorpusError(
      `${name}: not UTF-8 (${describeBadByte(view)}; ${view.length} bytes).`,
      'Save it as plain text in UTF-8.',
      { cause },
    );
  }
  if (text.trim() === '') {
    throw new CorpusError(
      `${name}: no text in it (${view.length} bytes).`,
      'Choose a file with text.',
    );
  }
  return text.replace(/\r\n?/g, '\n');
}
