// Text to token ids and back, in the worker and in Node. The only file that imports the tokenizer
// library. The library is given two parsed files and loads nothing itself, so it makes no requests.

import { PreTrainedTokenizer } from '@xenova/transformers';
import { shownJson } from '../quote';
import { bytePairEncoder } from './byte-pair-encoder';
import { slowPattern } from './patterns';

export interface Tokenizer {
  /** Tokens; their ids run from 0 on. The model may have more rows, as padding. */
  vocabularySize: number;
  /** The id of the end-of-text token, if the tokenizer names one. */
  endOfText?: number;
  /** Token ids of the text, without special tokens around it. */
  encode(text: string): Uint32Array;
  /**
   * The ids' text, including special tokens; a padding row's id has none.
   * @throws RangeError for an id outside the vocabulary
   */
  decode(ids: ArrayLike<number>): string;
}

/** A tokenizer that could not be loaded. `hint` says what to do next. */
export class TokenizerError extends Error {
  override name = 'TokenizerError';
  readonly operation = 'load the tokenizer';
  constructor(
    message: string,
    readonly hint: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Reads a text file. The path starts with the folder given to `loadTokenizer`. */
export type ReadText = (path: string) => Promise<string>;

/**
 * Reads over HTTP. A relative path is relative to the page; in a worker, to the worker's script.
 * @throws TokenizerError with the path and the status
 */
const fetchText: ReadText = async (path) => {
  const response = await fetch(path);
  if (!response.ok) {
    throw new TokenizerError(
      `${path}: the server answered ${response.status} ${response.statusText}`.trim() + '.',
      'Check that the model folder was copied along with the page.',
    );
  }
  return response.text();
};

/**
 * Characters per chunk: long enough to be fast, short enough for the library's regular expressions.
 */
const CHUNK_LENGTH = 16_384;

/**
 * Cuts a text before white space that follows a visible character. GPT-2's pre-tokenizer always
 * starts a piece there, so the tokens of the chunks are those of the whole text. (Cutting after
 * white space would not work: its piece depends on what follows.)
 */
export function* chunks(text: string, length = CHUNK_LENGTH): Generator<string> {
  const boundary = /(?<=\S)\s/g;
  let start = 0;
  while (start < text.length) {
    boundary.lastIndex = start + length;
    const end = boundary.exec(text)?.index ?? text.length;
    yield text.slice(start, end);
    start = end;
  }
}

function parse(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw text.trimStart().startsWith('<')
      ? new TokenizerError(
          `${path}: an HTML page instead of JSON.`,
          'The server has no such file. Check the address.',
          { cause },
        )
      : new TokenizerError(
          `${path}: not valid JSON (${text.length} characters: ${(cause as Error).message}).`,
          'The file may be incomplete. Copy it again.',
          { cause },
        );
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The number of ids in a `tokenizer.json`. @throws TokenizerError if they are not 0, 1, 2, … */
function countTokens(tokenizerJson: unknown): number {
  const model = isRecord(tokenizerJson) ? tokenizerJson.model : undefined;
  const vocabulary = isRecord(model) ? model.vocab : undefined;
  if (!isRecord(tokenizerJson) || !isRecord(vocabulary)) {
    throw new TokenizerError(
      'tokenizer.json: there is no model.vocab in it.',
      'Use a Hugging Face tokenizer.json with a BPE model.',
    );
  }
  const added = Array.isArray(tokenizerJson.added_tokens) ? tokenizerJson.added_tokens : [];
  const ids = new Set([
    ...Object.values(vocabulary),
    ...added.map((token: unknown) => (isRecord(token) ? token.id : undefined)),
  ]);
  for (let id = 0; id < ids.size; id++) {
    if (!ids.has(id)) {
      throw new TokenizerError(
        `tokenizer.json: ${ids.size} tokens, but none has id ${id}.`,
        'The file is damaged. Copy it again.',
      );
    }
  }
  if (ids.size === 0)
    throw new TokenizerError(
      'tokenizer.json: there are no tokens in it.',
      'The file is damaged. Copy it again.',
    );
  return ids.size;
}

/**
 * Whether a vocabulary of `tokens` can be padded to `rows`: models round it up for the hardware, by
 * 2% at most among those of the hub, and never by much for a large one.
 */
export const isPadded = (tokens: number, rows: number): boolean =>
  tokens <= rows && rows - tokens <= Math.min(1024, rows / 20);

/**
 * From the parsed `tokenizer.json` and `tokenizer_config.json`.
 * @param rows the model's, if it may have more than there are tokens
 * @throws TokenizerError
 */
export function makeTokenizer(
  tokenizerJson: unknown,
  tokenizerConfig: unknown,
  rows?: number,
): Tokenizer {
  const vocabularySize = countTokens(tokenizerJson);
  const end = rows ?? vocabularySize;
  const slow = slowPattern(tokenizerJson);
  if (slow !== undefined) {
    throw new TokenizerError(
      `tokenizer.json: its pattern ${shownJson(slow)} repeats a repetition or a choice, ` +
        'which can take for ever.',
      'Use another model’s tokenizer, or correct the pattern.',
    );
  }
  let library: PreTrainedTokenizer;
  try {
    library = new PreTrainedTokenizer(tokenizerJson, tokenizerConfig);
  } catch (cause) {
    throw new TokenizerError(
      `the tokenizer library refused the files: ${(cause as Error).message}`,
      'Use a Hugging Face tokenizer.json and tokenizer_config.json.',
      { cause },
    );
  }
  const endOfText: unknown = library.eos_token_id;
  const encodePieces = bytePairEncoder(tokenizerJson);
  return {
    vocabularySize,
    endOfText: typeof endOfText === 'number' ? endOfText : undefined,
    encode(text) {
      const encoded = [...chunks(text)].map(
        (chunk) => encodePieces?.(chunk) ?? library.encode(chunk, { add_special_tokens: false }),
      );
      const ids = new Uint32Array(encoded.reduce((sum, { length }) => sum + length, 0));
      let offset = 0;
      for (const chunk of encoded) {
        ids.set(chunk, offset);
        offset += chunk.length;
      }
      return ids;
    },
    decode(ids) {
      const list = Array.from(ids);
      const unknown = list.find((id) => !(Number.isInteger(id) && id >= 0 && id < end));
      if (unknown !== undefined) {
        throw new RangeError(`decode: no token has id ${unknown}; ids run from 0 to ${end - 1}.`);
      }
      const tokens = list.filter((id) => id < vocabularySize);
      // The library refuses to decode an empty list.
      return tokens.length === 0
        ? ''
        : library.decode(tokens, {
            skip_special_tokens: false,
            clean_up_tokenization_spaces: false,
          });
    },
  };
}

export interface LoadOptions {
  /** Default: fetch. In Node: `(path) => readFile(path, 'utf8')`. */
  read?: ReadText;
  /** The model's rows; a tokenizer that does not fit them is an error. */
  vocabularySize?: number;
}

/**
 * Loads `tokenizer.json` and `tokenizer_config.json` from a Hugging Face folder, given as a path or
 * URL with or without a slash at its end.
 * @throws TokenizerError for a missing or damaged file, HTML instead of JSON, or a vocabulary size
 * that is not the model's
 */
export async function loadTokenizer(
  folder: string,
  { read = fetchText, vocabularySize }: LoadOptions = {},
): Promise<Tokenizer> {
  const load = async (name: string) => {
    const path = `${folder.replace(/\/$/, '')}/${name}`;
    const text = await read(path).catch((cause: Error) => {
      throw cause instanceof TokenizerError
        ? cause
        : new TokenizerError(`${path}: ${cause.message}`, 'Check the folder and the connection.', {
            cause,
          });
    });
    return parse(path, text);
  };
  const [tokenizerJson, tokenizerConfig] = await Promise.all(
    ['tokenizer.json', 'tokenizer_config.json'].map(load),
  );
  const tokenizer = makeTokenizer(tokenizerJson, tokenizerConfig, vocabularySize);
  if (vocabularySize !== undefined && !isPadded(tokenizer.vocabularySize, vocabularySize)) {
    throw new TokenizerError(
      `${folder}: the tokenizer has ${tokenizer.vocabularySize} tokens, ` +
        `but the model has ${vocabularySize}.`,
      'Use the tokenizer that came with the model.',
    );
  }
  return tokenizer;
}
