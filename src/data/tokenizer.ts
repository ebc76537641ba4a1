// Text to token ids and back, in the worker and in Node. The only file that imports the tokenizer
// library. The library is given two parsed files and loads nothing itself, so it makes no requests.

import { PreTrainedTokenizer } from '@xenova/transformers';
import { excerpt, shownJson } from '../quote';
import type { Aligned } from './aligned';
import { placesInContents } from './aligned-chat';
import { bytePairEncoder } from './byte-pair-encoder';
import { type ChatMessage, chatTemplate, type RenderedChat } from './chat';
import { CorpusError } from './corpus';
import { slowPattern } from './patterns';
import { type Spelling, spellingOf } from './spelling';

/** Token ids in a row: a document's, or those of documents one after the other. */
export interface Tokens {
  ids: Uint32Array;
  /** (n) 1 for each token that a model learns to predict. Without it, every token is learned. */
  learned?: Uint8Array;
  /** The same text in the tokens of a teacher with another vocabulary. */
  aligned?: Aligned;
}

/** Tokens of which a part is learned. */
type LearnedTokens = Required<Pick<Tokens, 'ids' | 'learned'>>;

/** A conversation. */
interface ChatTokens extends LearnedTokens {
  /** See `placesInContents`; undefined if the tokens do not spell the conversation. */
  places(): Float64Array | undefined;
}

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
  /** Which bytes of a text its tokens stand for, and which bytes a token does. */
  readonly spelling: Pick<Spelling, 'boundaries' | 'spell'>;
  /**
   * A conversation in the model's chat template, if it has one. What the assistant says is learned.
   * @throws CorpusError for a conversation that the template refuses
   */
  chat?(messages: readonly ChatMessage[]): ChatTokens;
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
/** The same for a tokenizer without pieces, which merges a whole chunk at once. */
const SHORT_CHUNK = 1024;

/** A single space between visible characters, or other white space after a letter or number. */
const PIECE = /(?<=\S) (?=\S)|(?<=[\p{L}\p{N}])\s(?=\S)/u;
/** A single space after a letter or number. */
const WORD = /(?<=[\p{L}\p{N}]) (?=\S)/u;

/**
 * Cuts a text before such white space. The pre-tokenizers of GPT-2, Llama 3 and Qwen always start a
 * piece there, so the tokens of the chunks are those of the whole text. (Cutting after white space
 * would not work: its piece depends on what follows.)
 */
export function* chunks(text: string, length = CHUNK_LENGTH, before = PIECE): Generator<string> {
  const boundary = new RegExp(before, 'gu');
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

/**
 * Cuts a text for a tokenizer. One that puts a space before a text, as SentencePiece does, puts it
 * before each chunk, which leaves out its own.
 */
function cutterFor(tokenizerJson: unknown): (text: string) => string[] {
  const { normalizer, pre_tokenizer, model } = tokenizerJson as Record<string, unknown>;
  const addsSpace = /"(Prepend|Metaspace)"/.test(JSON.stringify([normalizer, pre_tokenizer]));
  if (!addsSpace) return (text) => [...chunks(text)];
  const tokens = Object.keys((model as { vocab: object }).vocab);
  // A token of several words could lie on both sides of a cut.
  const length = tokens.some((token) => /[^▁]▁/.test(token)) ? Infinity : SHORT_CHUNK;
  return (text) => [...chunks(text, length, WORD)].map((part, i) => (i > 0 ? part.slice(1) : part));
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
 * The template in a tokenizer_config.json, if it has one. Of several, the one named "default".
 */
function templateIn(tokenizerConfig: unknown): string | undefined {
  const template = isRecord(tokenizerConfig) ? tokenizerConfig.chat_template : undefined;
  const named = (Array.isArray(template) ? template : []).filter(isRecord);
  const chosen = named.find(({ name }) => name === 'default')?.template ?? template;
  return typeof chosen === 'string' ? chosen : undefined;
}

/** Tokens that templates write, by name: `bos_token`, `eos_token` and the like. */
function namedTokens(tokenizerConfig: unknown): Record<string, string> {
  const named: Record<string, string> = {};
  for (const [name, value] of Object.entries(isRecord(tokenizerConfig) ? tokenizerConfig : {})) {
    const token = isRecord(value) ? value.content : value;
    if (name.endsWith('_token') && typeof token === 'string') named[name] = token;
  }
  return named;
}

/** A rendered conversation as tokens: those that hold a character that the assistant says. */
function chatEncoder(tokenizerJson: unknown, encode: Tokenizer['encode']) {
  const { normalised, offsets, boundaries } = spellingOf(tokenizerJson);
  const length = (text: string) => new TextEncoder().encode(text).length;
  return (rendered: RenderedChat, messages: readonly ChatMessage[]): ChatTokens => {
    const { text, said } = rendered;
    let whole = '';
    const add = (from: number, to?: number): [number, number] => {
      const before = length(whole);
      whole += normalised(text.slice(from, to));
      return [before, length(whole)];
    };
    const spans: [number, number][] = [];
    let at = 0;
    for (const [from, to] of said) {
      add(at, from);
      spans.push(add(from, to));
      at = to;
    }
    add(at);
    const ids = encode(whole);
    const starts = offsets(whole, ids);
    if (!starts) {
      throw new CorpusError(
        `The tokens of a conversation do not spell it (“${text.slice(0, 60)}”), so those of the ` +
          'assistant cannot be told apart.',
        'Use another model, or read the data as dialogues.',
      );
    }
    const isSaid = (i: number) =>
      spans.some(([from, to]) => starts[i] < to && starts[i + 1] > from);
    return {
      ids,
      learned: Uint8Array.from(ids, (_, i) => Number(isSaid(i))),
      places() {
        const begin = boundaries(text, ids);
        return begin && placesInContents(rendered, messages, begin);
      },
    };
  };
}

/**
 * From the parsed `tokenizer.json` and `tokenizer_config.json`.
 * @param rows the model's, if it may have more than there are tokens
 * @param template `chat_template.jinja`, in place of the one in `tokenizer_config.json`
 * @throws TokenizerError
 */
export function makeTokenizer(
  tokenizerJson: unknown,
  tokenizerConfig: unknown,
  rows?: number,
  template = templateIn(tokenizerConfig),
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
      `the tokenizer library refused the files: ${excerpt((cause as Error).message, 200)}`,
      'Use a Hugging Face tokenizer.json and tokenizer_config.json.',
      { cause },
    );
  }
  // The library reads most of the files when it first needs them.
  const attempt = <Value>(what: string, work: () => Value): Value => {
    try {
      return work();
    } catch (cause) {
      throw new TokenizerError(
        `the tokenizer library cannot ${what} with these files: ` +
          excerpt((cause as Error).message, 200),
        'Use a Hugging Face tokenizer.json and tokenizer_config.json.',
        { cause },
      );
    }
  };
  const endOfText: unknown = library.eos_token_id;
  const encodePieces = bytePairEncoder(tokenizerJson);
  const cut = attempt('encode', () => cutterFor(tokenizerJson));
  const encode = (text: string): Uint32Array => {
    const encoded = cut(text).map(
      (chunk) =>
        encodePieces?.(chunk) ??
        attempt('encode', () => library.encode(chunk, { add_special_tokens: false })),
    );
    const ids = new Uint32Array(encoded.reduce((sum, { length }) => sum + length, 0));
    let offset = 0;
    for (const chunk of encoded) {
      ids.set(chunk, offset);
      offset += chunk.length;
    }
    return ids;
  };
  let spelling: Spelling | undefined;
  // Made when a conversation asks for it: a teacher that only reads texts needs no template.
  let ofChat: ((messages: readonly ChatMessage[]) => ChatTokens) | undefined;
  const makeChat = (source: string) => {
    const render = chatTemplate(source, namedTokens(tokenizerConfig));
    const encodeChat = chatEncoder(tokenizerJson, encode);
    return (messages: readonly ChatMessage[]) => encodeChat(render(messages), messages);
  };
  return {
    vocabularySize,
    endOfText: typeof endOfText === 'number' ? endOfText : undefined,
    encode,
    get spelling() {
      spelling ??= spellingOf(tokenizerJson);
      return spelling;
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
        : attempt('decode', () =>
            library.decode(tokens, {
              skip_special_tokens: false,
              clean_up_tokenization_spaces: false,
            }),
          );
    },
    ...(template !== undefined && {
      chat(messages) {
        ofChat ??= makeChat(template);
        return ofChat(messages);
      },
    }),
  };
}

export interface LoadOptions {
  /** Default: fetch. In Node: `(path) => readFile(path, 'utf8')`. */
  read?: ReadText;
  /** The model's rows; a tokenizer that does not fit them is an error. */
  vocabularySize?: number;
  /** `chat_template.jinja`, if the folder has one. */
  chatTemplate?: string;
}

/**
 * Loads `tokenizer.json` and `tokenizer_config.json` from a Hugging Face folder, given as a path or
 * URL with or without a slash at its end.
 * @throws TokenizerError for a missing or damaged file, HTML instead of JSON, or a vocabulary size
 * that is not the model's
 */
export async function loadTokenizer(
  folder: string,
  { read = fetchText, vocabularySize, chatTemplate }: LoadOptions = {},
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
  const tokenizer = makeTokenizer(tokenizerJson, tokenizerConfig, vocabularySize, chatTemplate);
  if (vocabularySize !== undefined && !isPadded(tokenizer.vocabularySize, vocabularySize)) {
    throw new TokenizerError(
      `${folder}: the tokenizer has ${tokenizer.vocabularySize} tokens, ` +
        `but the model has ${vocabularySize}.`,
      'Use the tokenizer that came with the model.',
    );
  }
  return tokenizer;
}
