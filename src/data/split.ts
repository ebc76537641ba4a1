// Encodes documents, and splits their tokens into a training set and a held-out set.

import { align, alignedPart, concatenateAligned, oneGroup } from './aligned';
import { alignContents } from './aligned-chat';
import { CorpusError } from './corpus';
import type { Conversation, Document } from './documents';
import type { Tokenizer, Tokens } from './tokenizer';

/** Separates plain documents if the tokenizer has no end-of-text token. */
const PARAGRAPH = '\n\n';

/**
 * Tokens of each document. A conversation is what the chat template makes of it, and with
 * `assistantOnly` only what the assistant says is learned. In other documents the end-of-text token
 * follows every text, as it follows GPT-2's documents and DialoGPT's turns, unless the text already
 * ends with it. A single plain text gets none, since there is nothing to separate it from.
 * @throws CorpusError for dialogues, if the tokenizer has no end-of-text token, and for
 * conversations, if the tokenizer has no chat template or it refuses one
 */
export function encodeDocuments(
  documents: readonly Document[],
  tokenizer: Tokenizer,
  assistantOnly = true,
): Tokens[] {
  const { endOfText } = tokenizer;
  const only = onlyText(documents);
  if (only !== undefined) return [{ ids: tokenizer.encode(only) }];
  const isDialogue = (document: Document) => Array.isArray(document) && document.length > 1;
  if (endOfText === undefined && documents.some(isDialogue)) {
    throw new CorpusError(
      'The teacher’s tokenizer has no end-of-text token, which joins the turns of a dialogue.',
      'Read the data as text, or choose another teacher.',
    );
  }
  return documents.map((document) => {
    if (!Array.isArray(document)) {
      const { ids, learned } = encodeConversation(document, tokenizer, 'teacher');
      return assistantOnly ? { ids, learned } : { ids };
    }
    const { ids } = concatenate(
      document.flatMap((text) => {
        const ids = tokenizer.encode(text);
        return endsItself(ids, tokenizer) ? [{ ids }] : [{ ids }, { ids: endOf(tokenizer) }];
      }),
    );
    return { ids };
  });
}

/** The text of a corpus of one. */
function onlyText(documents: readonly Document[]): string | undefined {
  const only = documents.length === 1 ? documents[0] : [];
  return Array.isArray(only) && only.length === 1 ? only[0] : undefined;
}

const endOf = ({ endOfText, encode }: Tokenizer): Uint32Array =>
  endOfText === undefined ? encode(PARAGRAPH) : Uint32Array.of(endOfText);

const endsItself = (ids: Uint32Array, { endOfText }: Tokenizer): boolean =>
  endOfText !== undefined && ids.at(-1) === endOfText;

/**
 * The same documents for a student and a teacher with another vocabulary: the student's tokens,
 * with the teacher's aligned to them. End-of-text tokens are not compared, nor is a text that the
 * tokens of one of them do not spell. Each model's chat template writes a conversation, of which
 * the contents of the assistant's messages are compared.
 * @throws CorpusError as `encodeDocuments` does, and if no text can be aligned
 */
export function encodeAligned(
  documents: readonly Document[],
  student: Tokenizer,
  teacher: Tokenizer,
  assistantOnly = true,
): Tokens[] {
  const textOf = (text: string): Tokens => {
    const [ids, others] = [student.encode(text), teacher.encode(text)];
    const starts = student.spelling.boundaries(text, ids);
    const teacherStarts = teacher.spelling.boundaries(text, others);
    const groups =
      starts && teacherStarts ? align(starts, teacherStarts) : oneGroup(ids.length, others.length);
    return { ids, aligned: { ids: others, groups } };
  };
  /** What follows a text, of each that does not end by itself. */
  const endAfter = (ids: Uint32Array, others: Uint32Array): Tokens => {
    const none = new Uint32Array();
    const end = endsItself(ids, student) ? none : endOf(student);
    const other = endsItself(others, teacher) ? none : endOf(teacher);
    return { ids: end, aligned: { ids: other, groups: oneGroup(end.length, other.length) } };
  };
  const conversation = (document: Conversation): Tokens => {
    const { ids, learned, places } = encodeConversation(document, student, 'student');
    const other = encodeConversation(document, teacher, 'teacher');
    const [mine, theirs] = [places(), other.places()];
    const groups =
      mine && theirs
        ? alignContents(document.messages, mine, theirs)
        : oneGroup(ids.length, other.ids.length);
    return { ids, ...(assistantOnly && { learned }), aligned: { ids: other.ids, groups } };
  };
  const only = onlyText(documents);
  const encoded =
    only !== undefined
      ? [textOf(only)]
      : documents.map((document) => {
          if (!Array.isArray(document)) return conversation(document);
          const { ids, aligned } = concatenate(
            document.flatMap((text) => {
              const tokens = textOf(text);
              return [tokens, endAfter(tokens.ids, tokens.aligned!.ids)];
            }),
          );
          return { ids, aligned };
        });
  if (encoded.some(({ aligned }) => aligned?.groups.compared.includes(1))) return encoded;
  throw new CorpusError(
    'The tokens of one of the models do not spell the text, so the two cannot be aligned.',
    'Choose another text, or two models with the same tokenizer.',
  );
}

function encodeConversation(
  { messages }: Conversation,
  { chat }: Tokenizer,
  of: 'teacher' | 'student',
) {
  if (chat) return chat(messages);
  throw new CorpusError(
    `The ${of} has no chat template, which writes a conversation as one text.`,
    `Choose a ${of} with one, such as an “Instruct” model, or read the data as dialogues.`,
  );
}

/** Documents one after the other. */
export interface JoinedTokens extends Tokens {
  /** Where each document begins. */
  documents: number[];
}

function concatenate(parts: readonly Tokens[]): JoinedTokens {
  const length = parts.reduce((sum, { ids }) => sum + ids.length, 0);
  const joined = new Uint32Array(length);
  const learned = parts.some((part) => part.learned) ? new Uint8Array(length).fill(1) : undefined;
  const documents: number[] = [];
  let offset = 0;
  for (const part of parts) {
    documents.push(offset);
    joined.set(part.ids, offset);
    if (part.learned) learned?.set(part.learned, offset);
    offset += part.ids.length;
  }
  const aligned = parts.flatMap((part) =>
    part.aligned ? [{ ...part.aligned, student: part.ids.length }] : [],
  );
  return {
    ids: joined,
    learned,
    documents,
    ...(aligned.length > 0 && { aligned: concatenateAligned(aligned) }),
  };
}

export interface CorpusSplit {
  train: JoinedTokens;
  /** For evaluation. Shares no document with `train`; a single document is cut in two. */
  heldOut: JoinedTokens;
  /** Number of documents held out; 0 if it is the end of a single one. */
  heldOutDocuments: number;
}

export interface SplitOptions {
  /** T, in tokens. Each of the two sets has at least one window of T + 1 tokens. */
  contextLength: number;
  /** Random numbers in [0, 1) that choose the documents. */
  random: () => number;
  /** Share of the tokens to hold out, between 0 and 1. */
  heldOutFraction?: number;
}

/**
 * Holds out random documents, up to the given share of all tokens, then the shortest others until
 * there is a window. Identical documents go to the same set, so that training never sees a held-out
 * text. Both sets keep the documents' order. A single document is cut by `splitCorpus`.
 * @throws CorpusError if a set has fewer than T + 1 tokens
 * @throws RangeError for a share that is not between 0 and 1
 */
export function splitDocuments(documents: readonly Tokens[], options: SplitOptions): CorpusSplit {
  const { contextLength, random, heldOutFraction = 0.1 } = options;
  requireFraction(heldOutFraction);
  if (documents.length === 1) return splitCorpus(documents[0], options);
  const groups = new Map<string, { members: number[]; tokens: number }>();
  documents.forEach(({ ids }, index) => {
    const key = ids.join();
    const group = groups.get(key) ?? { members: [], tokens: 0 };
    groups.set(key, group);
    group.members.push(index);
    group.tokens += ids.length;
  });
  const total = documents.reduce((sum, { ids }) => sum + ids.length, 0);
  const order = [...groups.values()];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  const chosen = new Set<number>();
  let held = 0;
  const hold = ({ members, tokens }: { members: number[]; tokens: number }) => {
    for (const index of members) chosen.add(index);
    held += tokens;
  };
  const remaining = order.filter((group) => {
    if (held + group.tokens > total * heldOutFraction) return true;
    hold(group);
    return false;
  });
  remaining.sort((a, b) => a.tokens - b.tokens);
  // The more is held out, the longer a context that part has room for, until the other has none.
  const fits = () => Math.min(held, total - held) - 1;
  let longest = fits();
  while (held <= contextLength && remaining.length > 1) {
    hold(remaining.shift()!);
    longest = Math.max(longest, fits());
  }
  const tokensOf = (isHeldOut: boolean) =>
    concatenate(documents.filter((_, index) => chosen.has(index) === isHeldOut));
  const split = { train: tokensOf(false), heldOut: tokensOf(true), heldOutDocuments: chosen.size };
  if (Math.min(split.train.ids.length, split.heldOut.ids.length) <= contextLength) {
    const same = groups.size < documents.length ? ` (${groups.size} different)` : '';
    throw tooShort(
      `${documents.length} documents${same} with ${total} tokens are too few: ` +
        tooFew(split, contextLength),
      'Add different documents',
      longest,
    );
  }
  return split;
}

/** A context of fewer tokens has nothing to predict from. */
const SHORTEST_CONTEXT = 2;

/** `remedy`: what to do about the text. A shorter context is offered where one is enough. */
function tooShort(message: string, remedy: string, longestContext: number): CorpusError {
  if (longestContext < SHORTEST_CONTEXT) return new CorpusError(message, `${remedy}.`);
  const hint = `${remedy}, or use a context of at most ${longestContext}.`;
  return Object.assign(new CorpusError(message, hint), { longestContext });
}

/** "9 for training and 3 held out, but each needs at least 17 (a context of 16 and one more)." */
function tooFew({ train, heldOut }: CorpusSplit, contextLength: number): string {
  const counts = `${train.ids.length} for training and ${heldOut.ids.length} held out`;
  const needed = `at least ${contextLength + 1} (a context of ${contextLength} and one more)`;
  return `${counts}, but each needs ${needed}.`;
}

function requireFraction(heldOutFraction: number): void {
  if (heldOutFraction > 0 && heldOutFraction < 1) return;
  throw new RangeError(
    `split the corpus: heldOutFraction is ${heldOutFraction}; it must be between 0 and 1.`,
  );
}

/**
 * Cuts a text's tokens in two: the end is held out. If windows were drawn from everywhere, training
 * would see the neighbours of each held-out sentence. Both sets are views of the same memory.
 * @throws CorpusError if a set has fewer than T + 1 tokens
 * @throws RangeError for a share that is not between 0 and 1
 */
export function splitCorpus(
  tokens: Tokens,
  { contextLength, heldOutFraction = 0.1 }: Omit<SplitOptions, 'random'>,
): CorpusSplit {
  requireFraction(heldOutFraction);
  const { ids, learned, aligned } = tokens;
  const cut = ids.length - Math.round(ids.length * heldOutFraction);
  const part = (from: number, to: number): JoinedTokens => ({
    ids: ids.subarray(from, to),
    learned: learned?.subarray(from, to),
    ...(aligned && { aligned: alignedPart(aligned, from, to) }),
    documents: [0],
  });
  const split = {
    train: part(0, cut),
    heldOut: part(cut, ids.length),
    heldOutDocuments: 0,
  };
  const needed = contextLength + 1;
  const shorter = Math.min(split.train.ids.length, split.heldOut.ids.length);
  if (shorter < needed) {
    const enough = Math.ceil(needed / Math.min(heldOutFraction, 1 - heldOutFraction));
    throw tooShort(
      `${ids.length} tokens are too few: ${tooFew(split, contextLength)}`,
      `Use a text of at least ${enough} tokens`,
      shorter - 1,
    );
  }
  return split;
}
