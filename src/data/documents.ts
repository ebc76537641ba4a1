// Reads documents, plain texts or dialogues, from .txt, .jsonl and .csv files. A file is read
// completely or refused with what was found and what was expected. No row is dropped silently.

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
   */
  format: 'text' | 'dialogue';
  /** Columns of a .csv, or fields of a .jsonl's objects. `text` takes one. */
  columns: string[];
  /** The column with the same value in all rows of a dialogue. They need not be adjacent. */
  dialogueId?: string;
}

/** The turns of a dialogue, or the single text of a plain document. */
export type Document = string[];

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

interface Row {
  line: number;
  fields: ReadonlyMap<string, unknown>;
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
  if (kind === 'txt') {
    const documents = reading.format === 'text' ? [[text]] : linesToDialogues(text);
    return { documents, columns: [], empty: 0 };
  }
  const bad = new BadRows(file.name);
  const { rows, columns } = kind === 'csv' ? csvRows(text, bad) : jsonRows(text, bad);
  bad.throwAny(columns);
  const chosen = [...reading.columns];
  if (reading.dialogueId !== undefined) chosen.push(reading.dialogueId);
  const missing = chosen.find((name) => !columns.includes(name));
  if (missing !== undefined || chosen.length === 0) {
    const column = kind === 'csv' ? 'column' : 'field';
    const problem =
      missing === undefined ? `no ${column} is chosen` : `there is no ${column} “${missing}”`;
    const format =
      kind === 'csv' ? ' Columns are separated by commas, and the first line names them.' : '';
    throw new ColumnsError(
      `${file.name}: ${problem}; it has ${list(columns)}.`,
      `Choose the ${column} with the text.${format}`,
      columns,
    );
  }
  const result = rowsToDocuments(rows, reading, bad);
  bad.throwAny(columns);
  if (result.documents.length === 0) {
    throw new ColumnsError(
      `${file.name}: there is no text in ${list(reading.columns)} (${rows.length} rows).`,
      'Choose another column, or another file.',
      columns,
    );
  }
  return { ...result, columns };
}

const list = (names: readonly string[]) => names.map((name) => `“${name}”`).join(', ') || 'none';

/** Collects a file's bad rows, to report all of them at once. */
class BadRows {
  private count = 0;
  private readonly quoted: string[] = [];

  constructor(private readonly file: string) {}

  add(line: number, what: string): void {
    this.count++;
    if (this.quoted.length < ROWS_QUOTED) this.quoted.push(`Line ${line}: ${what}.`);
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

function linesToDialogues(text: string): Document[] {
  return text
    .split(/\n(?:[^\S\n]*\n)+/)
    .map((dialogue) =>
      dialogue
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== ''),
    )
    .filter((turns) => turns.length > 0);
}

function csvRows(text: string, bad: BadRows): { rows: Row[]; columns: string[] } {
  let table: ReturnType<typeof parseCsv> = [];
  try {
    table = parseCsv(text);
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    bad.add(error.line, error.message);
    return { rows: [], columns: [] };
  }
  const [{ line: headerLine, values: columns }, ...body] = table;
  const twice = columns.find((name, i) => columns.indexOf(name) !== i);
  if (twice !== undefined)
    bad.add(headerLine, `two columns are named “${twice}”; names must be unique`);
  const rows = body.map(({ line, values }) => {
    if (values.length !== columns.length) {
      const count = `${values.length} ${values.length === 1 ? 'value' : 'values'}`;
      bad.add(line, `${count} (${excerpt(values)}), but the header has ${columns.length}`);
    }
    return { line, fields: new Map(columns.map((name, i) => [name, values[i]])) };
  });
  return { rows, columns };
}

function jsonRows(text: string, bad: BadRows): { rows: Row[]; columns: string[] } {
  const rows: Row[] = [];
  const columns = new Set<string>();
  for (const [index, source] of text.split('\n').entries()) {
    if (source.trim() === '') continue;
    const value = parseJson(source);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const fields = new Map(Object.entries(value));
      for (const name of fields.keys()) columns.add(name);
      rows.push({ line: index + 1, fields });
    } else {
      const what = value === undefined ? `“${shorten(source)}” is not JSON` : describe(value);
      bad.add(index + 1, `${what}; expected an object`);
    }
  }
  return { rows, columns: [...columns] };
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
  rows: readonly Row[],
  reading: Reading,
  bad: BadRows,
): Omit<DocumentsOfFile, 'columns'> {
  const documents: Document[] = [];
  const byId = new Map<unknown, Document>();
  let empty = 0;
  for (const row of rows) {
    const turns: Document = [];
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
      bad.add(row.line, `“${reading.dialogueId}” is ${describe(id)}; expected a text or a number`);
      continue;
    }
    const dialogue = byId.get(id) ?? [];
    if (dialogue.length === 0 && turns.length > 0) documents.push(dialogue);
    dialogue.push(...turns);
    byId.set(id, dialogue);
  }
  return { documents, empty };
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
    bad.add(row.line, `“${column}” is ${describe(value)}; expected a text`);
  } else if (isList) {
    return value;
  } else if (typeof value === 'string' && (columns.length > 1 || dialogueId !== undefined)) {
    return [value];
  } else {
    const expected = 'a list of turns, a second column of turns, or a column of dialogue ids';
    bad.add(row.line, `“${column}” is ${describe(value)}; expected ${expected}`);
  }
  return [];
}

const shorten = (text: string) => (text.length > 40 ? `${text.slice(0, 40)}…` : text);
const excerpt = (values: readonly string[]) => `“${shorten(values.join(','))}”`;

function describe(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'string') return `the text “${shorten(value)}”`;
  if (Array.isArray(value)) return `a list, ${shorten(JSON.stringify(value))}`;
  return shorten(JSON.stringify(value));
}
