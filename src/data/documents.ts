// Reads documents, plain texts, dialogues or conversations, from .txt, .jsonl and .csv files. A
// file is read completely or refused with what was found and what was expected. No row is dropped
// silently.

import { excerpt, shownJson } from '../quote';
import type { ChatMessage } from './chat';
import { CorpusError, decodeCorpus } from './corpus';
import { CsvError, parseCsv } from './csv';

export interface CorpusFile {
  /** The extension gives the type: .txt, .jsonl (or .ndjson) or .csv. */
  name: string;
  bytes: ArrayBuffer | Uint8Array;
}

/** How files are read. A .txt has no columns and ignores them. */
export interface Reading {
  /**
   * `text`: a .txt is one document. In the other types, each row is one: its chosen column.
   * `dialogue`: in a .txt, each line is a turn, and empty lines separate dialogues. In the other
   * types, the chosen columns of a row are turns, in that order; a .jsonl field may also be a list
   * of turns. Each row is one dialogue, unless `dialogueId` is given.
   * `chat`: each row is a conversation, for the model's chat template: the chosen field is a list
   * of messages, or the chosen columns are the turns of user and assistant in turn.
   */
  format: 'text' | 'dialogue' | 'chat';
  /** Columns of a .csv, or fields of a .jsonl's objects. `text` takes one. */
  columns: string[];
  /** The column with the same value in all rows of a dialogue. They need not be adjacent. */
  dialogueId?: string;
}

/** A conversation that the model's chat template writes. */
export interface Conversation {
  messages: ChatMessage[];
}
/** The turns of a dialogue, the single text of a plain document, or a conversation. */
export type Document = string[] | Conversation;

export interface DocumentsOfFile {
  documents: Document[];
  /** The file's columns or fields; none for a .txt. */
  columns: string[];
  /** Blank values; they are in no document. */
  empty: number;
}

/** A CorpusError that lists the columns to choose from. */
export class ColumnsError extends CorpusError {
  override name = 'ColumnsError';
  constructor(
    message: string,
    hint: string,
    readonly columns: string[],
  ) {
    super(message, hint);
  }
}

/** Number of bad rows that a message describes; the others are only counted. */
const ROWS_QUOTED = 3;
/** Columns that a message lists. */
const NAMES_QUOTED = 20;
/**
 * Rows, lines of a .txt with dialogues, or fields of a .jsonl. More, in a file of at most 20 MB,
 * are hardly texts, and would fill the memory.
 */
const MOST = { rows: 1_000_000, fields: 10_000 };

interface Row {
  line: number;
  fields: ReadonlyMap<string, unknown>;
}

/** A table, read anew each time. */
interface Table {
  columns: string[];
  count: number;
  rows(): Iterable<Row>;
}

/**
 * The documents of one file.
 * @throws CorpusError with the file and, for bad rows, their lines and what was expected there
 * @throws ColumnsError if a chosen column does not exist
 */
export function readDocuments(file: CorpusFile, reading: Reading): DocumentsOfFile {
  const kind = /\.(txt|jsonl|ndjson|csv)$/i.exec(file.name)?.[1].toLowerCase();
  if (!kind) {
    throw new CorpusError(
      `${file.name}: unsupported file type.`,
      'Use .txt for text, .jsonl for one JSON object per line, or .csv for a table with a header.',
    );
  }
  const text = decodeCorpus(file.name, file.bytes);
  if (kind === 'txt' && reading.format === 'chat') {
    throw new CorpusError(
      `${file.name}: a .txt has no roles, and a conversation needs them.`,
      'Use a .jsonl whose objects have "messages", or read it as dialogues.',
    );
  }
  if (kind === 'txt') {
    const documents = reading.format === 'text' ? [[text]] : linesToDialogues(file.name, text);
    return { documents, columns: [], empty: 0 };
  }
  const bad = new BadRows(file.name);
  const table = kind === 'csv' ? csvTable(text, bad) : jsonTable(text, bad);
  const { columns } = table;
  bad.throwAny(columns);
  const chosen = [...reading.columns];
  if (reading.dialogueId !== undefined) chosen.push(reading.dialogueId);
  const missing = chosen.find((name) => !columns.includes(name));
  if (missing !== undefined || chosen.length === 0) {
    const column = kind === 'csv' ? 'column' : 'field';
    const problem =
      missing === undefined
        ? `no ${column} is chosen`
        : `there is no ${column} “${excerpt(missing)}”`;
    const format =
      kind === 'csv' ? ' Columns are separated by commas, and the first line names them.' : '';
    throw new ColumnsError(
      `${file.name}: ${problem}; it has ${list(columns)}.`,
      `Choose the ${column} with the text.${format}`,
      columns,
    );
  }
  const result =
    reading.format === 'chat'
      ? { documents: rowsToChats(table.rows(), reading, bad), empty: 0 }
      : rowsToDocuments(table.rows(), reading, bad);
  bad.throwAny(columns);
  if (result.documents.length === 0) {
    throw new ColumnsError(
      `${file.name}: there is no text in ${list(reading.columns)} (${table.count} rows).`,
      'Choose another column, or another file.',
      columns,
    );
  }
  return { ...result, columns };
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_QUOTED).map((name) => `“${excerpt(name)}”`);
  const more = names.length - shown.length;
  return (shown.join(', ') || 'none') + (more > 0 ? ` and ${more} more` : '');
}

/** Collects a file's bad rows, to report all of them at once. */
class BadRows {
  private count = 0;
  private readonly quoted: string[] = [];

  constructor(private readonly file: string) {}

  /** @param what is wrong with it, described only if a message will say so */
  add(line: number, what: () => string): void {
    this.count++;
    if (this.quoted.length < ROWS_QUOTED) this.quoted.push(`Line ${line}: ${what()}.`);
  }

  /** A file with more rows than can be read. */
  tooMany(what: string): CorpusError {
    return new CorpusError(
      `${this.file}: more than ${MOST.rows.toLocaleString('en')} ${what}.`,
      'Use a part of the file.',
    );
  }

  throwAny(columns: string[]): void {
    if (this.count === 0) return;
    const more = this.count - this.quoted.length;
    const rows = `${this.count} ${this.count === 1 ? 'row' : 'rows'}`;
    throw new ColumnsError(
      `${this.file}: ${rows} cannot be read. ${this.quoted.join(' ')}` +
        (more > 0 ? ` And ${more} more.` : ''),
      'Correct the file and choose it again; nothing was imported.',
      columns,
    );
  }
}

function linesToDialogues(file: string, text: string): string[][] {
  const dialogues: string[][] = [];
  let turns: string[] = [];
  let count = 0;
  for (const { source } of linesOf(text)) {
    const line = source.trim();
    if (line === '') {
      turns = [];
      continue;
    }
    if (++count > MOST.rows) throw new BadRows(file).tooMany('lines');
    if (turns.length === 0) dialogues.push(turns);
    turns.push(line);
  }
  return dialogues;
}

/** The text's lines, counted from 1. */
function* linesOf(text: string): Generator<{ line: number; source: string }> {
  let line = 1;
  for (let at = 0; at <= text.length; line++) {
    const end = text.indexOf('\n', at);
    yield { line, source: text.slice(at, end < 0 ? undefined : end) };
    if (end < 0) return;
    at = end + 1;
  }
}

/** Reads each row once, to find the bad ones. */
function csvTable(text: string, bad: BadRows): Table {
  let columns: string[] = [];
  let count = -1;
  try {
    for (const { line, values } of parseCsv(text)) {
      count++;
      if (count > MOST.rows) throw bad.tooMany('rows');
      if (count === 0) {
        columns = values;
        const seen = new Set<string>();
        const twice = columns.find((name) => seen.size === seen.add(name).size);
        if (twice !== undefined)
          bad.add(line, () => `two columns are named “${excerpt(twice)}”; names must be unique`);
      } else if (values.length !== columns.length) {
        bad.add(line, () => {
          const number = `${values.length} ${values.length === 1 ? 'value' : 'values'}`;
          const start = excerpt(values.slice(0, NAMES_QUOTED).join(','));
          return `${number} (“${start}”), but the header has ${columns.length}`;
        });
      }
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    bad.add(error.line, () => error.message);
    columns = [];
  }
  return {
    columns,
    count,
    *rows() {
      let isHeader = true;
      for (const { line, values } of parseCsv(text)) {
        if (!isHeader) yield { line, fields: new Map(columns.map((name, i) => [name, values[i]])) };
        isHeader = false;
      }
    },
  };
}

/** Parses each line once, to find the fields and the bad lines. */
function jsonTable(text: string, bad: BadRows): Table {
  const columns = new Set<string>();
  let count = 0;
  const objects = function* () {
    for (const { line, source } of linesOf(text)) {
      if (source.trim() === '') continue;
      yield { line, source, value: parseJson(source) };
    }
  };
  for (const { line, source, value } of objects()) {
    if (++count > MOST.rows) throw bad.tooMany('rows');
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      bad.add(line, () => {
        const what = value === undefined ? `“${excerpt(source)}” is not JSON` : describe(value);
        return `${what}; expected an object`;
      });
      continue;
    }
    for (const name of Object.keys(value)) columns.add(name);
    if (columns.size > MOST.fields)
      bad.add(line, () => `more than ${MOST.fields.toLocaleString('en')} different fields`);
    if (columns.size > MOST.fields) break;
  }
  return {
    columns: [...columns],
    count,
    *rows() {
      for (const { line, value } of objects())
        yield { line, fields: new Map(Object.entries(value as object)) };
    },
  };
}

/** Undefined if it is not JSON; no JSON value is undefined. */
function parseJson(source: string): unknown {
  try {
    return JSON.parse(source);
  } catch {
    return undefined;
  }
}

function rowsToDocuments(
  rows: Iterable<Row>,
  reading: Reading,
  bad: BadRows,
): Omit<DocumentsOfFile, 'columns'> {
  const documents: string[][] = [];
  const byId = new Map<unknown, string[]>();
  let empty = 0;
  for (const row of rows) {
    const turns: string[] = [];
    for (const column of reading.columns) {
      const texts = textsOf(row, column, reading, bad);
      const visible = texts.filter((text) => text.trim() !== '');
      empty += texts.length - visible.length;
      turns.push(...visible);
    }
    if (reading.dialogueId === undefined) {
      if (turns.length > 0) documents.push(turns);
      continue;
    }
    const id = row.fields.get(reading.dialogueId);
    if ((typeof id !== 'string' && typeof id !== 'number') || id === '') {
      const column = excerpt(reading.dialogueId);
      bad.add(row.line, () => `“${column}” is ${describe(id)}; expected a text or a number`);
      continue;
    }
    const dialogue = byId.get(id) ?? [];
    if (dialogue.length === 0 && turns.length > 0) documents.push(dialogue);
    dialogue.push(...turns);
    byId.set(id, dialogue);
  }
  return { documents, empty };
}

/** Roles of the chosen columns, if they are not lists of messages. */
const ROLES = ['user', 'assistant'];

function rowsToChats(rows: Iterable<Row>, { columns }: Reading, bad: BadRows): Conversation[] {
  const conversations: Conversation[] = [];
  for (const { line, fields } of rows) {
    const values = columns.map((name) => fields.get(name));
    if (columns.length === 1) {
      const [messages] = values;
      const problem = messagesProblem(messages);
      if (problem === undefined) conversations.push({ messages: messages as ChatMessage[] });
      else bad.add(line, () => `“${excerpt(columns[0])}” ${problem}`);
      continue;
    }
    const wrong = values.findIndex((value) => typeof value !== 'string');
    if (wrong < 0) {
      const messages = values.map((value, i) => ({
        role: ROLES[i % ROLES.length],
        content: value as string,
      }));
      conversations.push({ messages });
    } else {
      const what = () => `“${excerpt(columns[wrong])}” is ${describe(values[wrong])}`;
      bad.add(line, () => `${what()}; expected a text`);
    }
  }
  return conversations;
}

/** What is wrong with a list of messages; undefined if a chat template can take it. */
function messagesProblem(messages: unknown): string | undefined {
  const expected = 'expected a list of messages such as {"role": "user", "content": "Hello"}';
  if (!Array.isArray(messages) || messages.length === 0)
    return `is ${describe(messages)}; ${expected}`;
  for (const [index, message] of messages.entries()) {
    const { role, content } = (message ?? {}) as Record<string, unknown>;
    for (const [name, value] of Object.entries({ role, content })) {
      if (typeof value === 'string') continue;
      const what = value === undefined ? `no ${name}` : `the ${name} ${describe(value)}`;
      return `has a message ${index + 1} with ${what}; ${expected}`;
    }
  }
  return undefined;
}

/** The texts of a field. A single text is not a dialogue, unless rows are joined by an id. */
function textsOf(
  row: Row,
  column: string,
  { format, columns, dialogueId }: Reading,
  bad: BadRows,
): string[] {
  const value = row.fields.get(column);
  const isList =
    Array.isArray(value) && value.length > 0 && value.every((turn) => typeof turn === 'string');
  if (format === 'text') {
    if (typeof value === 'string') return [value];
    bad.add(row.line, () => `“${excerpt(column)}” is ${describe(value)}; expected a text`);
  } else if (isList) {
    return value;
  } else if (typeof value === 'string' && (columns.length > 1 || dialogueId !== undefined)) {
    return [value];
  } else {
    const expected = 'a list of turns, a second column of turns, or a column of dialogue ids';
    bad.add(row.line, () => `“${excerpt(column)}” is ${describe(value)}; expected ${expected}`);
  }
  return [];
}

function describe(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'string') return `the text “${excerpt(value)}”`;
  return `${Array.isArray(value) ? 'a list, ' : ''}${shownJson(value, 40)}`;
}
