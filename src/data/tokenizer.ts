// Text to token ids and back, in the worker and in Node alike. The only file that names the
// tokenizer library. The library gets two parsed files and never loads anything itself, so nothing
// leaves the page's own origin.

import { PreTrainedTokenizer } from '@xenova/transformers';

export interface Tokenizer {
  /** Ids run from 0 to vocabularySize − 1. */
  vocabularySize: number;
  /** The id that ends a text, where the folder names one. */
  endOfText?: number;
  /** Token ids of the text; nothing is added before or after it. The empty text gives none. */
  encode(text: string): Uint32Array;
  /**
   * The text of the ids, special tokens included. Throws a RangeError for an id outside the
   * vocabulary.
   */
  decode(ids: ArrayLike<number>): string;
}

/** A tokenizer that could not be loaded. `hint` says what can be done next. */
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

/** Reads a text file; the path begins with the folder as `loadTokenizer` was given it. */
export type ReadText = (path: string) => Promise<string>;

/**
 * Reads over HTTP. A relative path is relative to the page, in a worker to the worker's script.
 * Throws a TokenizerError that names the path and status.
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
 * Characters encoded at once: long enough to lose no time between chunks, short enough for the
 * library's regular expressions.
 */
const CHUNK_LENGTH = 16_384;

/**
 * Cuts before white space that follows a visible character. A piece of GPT-2's always begins there,
 * so the chunks' tokens are those of the whole text. (After white space would not do: its piece
 * depends on what follows.) Texts without it stay whole.
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
    const found = text.trimStart();
    throw found.startsWith('<')
      ? new TokenizerError(
          `${path}: an HTML page came in place of JSON.`,
          'The server has no such file. Check the address.',
          { cause },
        )
      : new TokenizerError(
          `${path}: not valid JSON (${text.length} characters: ${(cause as Error).message}).`,
          'The file may be cut short. Copy it again.',
          { cause },
        );
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** How many ids a `tokenizer.json` has. Throws where they are not 0, 1, 2, … without gaps. */
function countTokens(tokenizerJson: unknown): number {
  const model = isRecord(tokenizerJson) ? tokenizerJson.model : undefined;
  const vocabulary = isRecord(model) ? model.vocab : undefined;
  if (!isRecord(tokenizerJson) || !isRecord(vocabulary)) {
    throw new TokenizerError(
      'tokenizer.json: no model.vocab in it.',
      'It has to be a Hugging Face tokenizer.json with a BPE model.',
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
        `tokenizer.json: ${ids.size} tokens, but none has the id ${id}.`,
        'The file is damaged. Copy it again.',
      );
    }
  }
  if (ids.size === 0)
    throw new TokenizerError(
      'tokenizer.json: no tokens in it.',
      'The file is damaged. Copy it again.',
    );
  return ids.size;
}

/**
 * A tokenizer from the parsed `tokenizer.json` and `tokenizer_config.json`. Throws a
 * TokenizerError.
 */
export function makeTokenizer(tokenizerJson: unknown, tokenizerConfig: unknown): Tokenizer {
  const vocabularySize = countTokens(tokenizerJson);
  let library: PreTrainedTokenizer;
  try {
    library = new PreTrainedTokenizer(tokenizerJson, tokenizerConfig);
  } catch (cause) {
    throw new TokenizerError(
      `the tokenizer library refused the files: ${(cause as Error).message}`,
      'They have to be a Hugging Face tokenizer.json and tokenizer_config.json.',
      { cause },
    );
  }
  const endOfText: unknown = library.eos_token_id;
  return {
    vocabularySize,
    endOfText: typeof endOfText === 'number' ? endOfText : undefined,
    encode(text) {
      const parts = [...chunks(text)].map((chunk) =>
        library.encode(chunk, { add_special_tokens: false }),
      );
      const ids = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
      let offset = 0;
      for (const part of parts) {
        ids.set(part, offset);
        offset += part.length;
      }
      return ids;
    },
    decode(ids) {
      const list = Array.from(ids);
      const strange = list.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocabularySize));
      if (strange !== undefined) {
        throw new RangeError(
          `decode: no token has the id ${strange}; ids run from 0 to ${vocabularySize - 1}.`,
        );
      }
      // The library refuses to decode nothing.
      return list.length === 0
        ? ''
        : library.decode(list, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
    },
  };
}

export interface LoadOptions {
  /** How a file is read; the default fetches. In Node: `(path) => readFile(path, 'utf8')`. */
  read?: ReadText;
  /** The vocabulary of the model that the tokens are for; another one is an error. */
  vocabularySize?: number;
}

/**
 * Loads `tokenizer.json` and `tokenizer_config.json` from a Hugging Face folder: a path or address,
 * with or without the last slash. Throws a TokenizerError: a file that is missing or damaged, HTML
 * in place of JSON, or another vocabulary than the model's.
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
  const tokenizer = makeTokenizer(tokenizerJson, tokenizerConfig);
  if (vocabularySize !== undefined && vocabularySize !== tokenizer.vocabularySize) {
    throw new TokenizerError(
      `${folder}: the tokenizer has ${tokenizer.vocabularySize} tokens, the model ${vocabularySize}.`,
      'Use the tokenizer that came with the model.',
    );
  }
  return tokenizer;
}
