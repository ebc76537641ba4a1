// Files to documents: plain texts and dialogues from .txt, .jsonl and .csv. A file is read whole or
// refused with what was found and what was expected; no row is ever left out in silence.

import { CorpusError, decodeCorpus } from './corpus';
import { CsvError, parseCsv } from './csv';

export interface CorpusFile {
  /** Its ending says what it is: .txt, .jsonl (or .ndjson), .csv. */
  name: string;
  bytes: ArrayBuffer | Uint8Array;
}

/** How files are read; a .txt has no columns and ignores them. */
export interface Reading {
  /**
   * `text`: a .txt is one document; so is the chosen field or column of each row of the others.
   * `dialogue`: in a .txt a turn a line, with empty lines between dialogues. In the others the
   * chosen fields of a row, one after the other, are turns; a .jsonl field may hold a list of
   * turns. A row is a dialogue unless `dialogueId` is given.
   */
  format: 'text' | 'dialogue';
  /** Fields of a .jsonl's objects, or columns of a .csv. `text` takes one. */
  columns: string[];
  /** The field or column with the same value in all rows of a dialogue, wherever they stand. */
  dialogueId?: string;
}

/**
 * The texts that the end-of-text token joins and ends: the turns of a dialogue, or the one text of
 * a plain document.
 */
export type Document = string[];

export interface DocumentsOfFile {
  documents: Document[];
  /** Fields or columns that the file has; none for a .txt. */
  columns: string[];
  /** Values that were empty or white space and so are in no document. */
  empty: number;
}

/** A CorpusError that knows which columns there would be to choose from. */
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

/** So many bad rows are quoted; the others are counted. */
const ROWS_QUOTED = 3;

interface Row {
  line: number;
  fields: ReadonlyMap<string, unknown>;
}

/**
 * The documents of one file. Throws a CorpusError that names the file and, for bad rows, their
 * lines, what stood there and what was expected; a ColumnsError where a chosen field or column is
 * not in it.
 */
export function readDocuments(file: CorpusFile, reading: Reading): DocumentsOfFile {
  const kind = /\.(txt|jsonl|ndjson|csv)$/i.exec(file.name)?.[1].toLowerCase();
  if (!kind) {
    throw new CorpusError(
      `${file.name}: no ending that says how to read it.`,
      'Use .txt for text, .jsonl for a JSON object a line, .csv for a table with a header.',
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
  const wanted = [
    ...reading.columns,
    ...(reading.dialogueId === undefined ? [] : [reading.dialogueId]),
  ];
  const missing = wanted.find((name) => !columns.includes(name));
  if (missing !== undefined || wanted.length === 0) {
    const what = kind === 'csv' ? 'column' : 'field';
    throw new ColumnsError(
      `${file.name}: ${missing === undefined ? `no ${what} is chosen` : `it has no ${what} “${missing}”`}; it has ${list(columns)}.`,
      `Choose the ${what} with the text.${kind === 'csv' ? ' Commas part columns, and the first line names them.' : ''}`,
      columns,
    );
  }
  const result = rowsToDocuments(rows, reading, bad);
  bad.throwAny(columns);
  if (result.documents.length === 0) {
    throw new ColumnsError(
      `${file.name}: no text in ${list(reading.columns)} (${rows.length} rows).`,
      'Choose another column, or another file.',
      columns,
    );
  }
  return { ...result, columns };
}

const list = (names: readonly string[]) => names.map((name) => `“${name}”`).join(', ') || 'none';

/** Bad rows of a file, gathered so that all are told at once. */
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
    throw new ColumnsError(
      `${this.file}: ${this.count} ${this.count === 1 ? 'row' : 'rows'} cannot be read. ${this.quoted.join(' ')}` +
        (more > 0 ? ` And ${more} more.` : ''),
      'Correct the file and choose it again; nothing of it was taken.',
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
    bad.add(headerLine, `two columns are named “${twice}”, where the names have to differ`);
  const rows = body.map(({ line, values }) => {
    if (values.length !== columns.length) {
      const expected = `${columns.length} were expected, as in the header`;
      bad.add(
        line,
        `${values.length} ${values.length === 1 ? 'value' : 'values'} (${excerpt(values)}); ${expected}`,
      );
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
      bad.add(index + 1, `${what}; an object was expected`);
    }
  }
  return { rows, columns: [...columns] };
}

/** Undefined, which JSON cannot say, for what is no JSON. */
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
      bad.add(
        row.line,
        `“${reading.dialogueId}” is ${describe(id)}; a text or a number was expected`,
      );
      continue;
    }
    const dialogue = byId.get(id) ?? [];
    if (dialogue.length === 0 && turns.length > 0) documents.push(dialogue);
    dialogue.push(...turns);
    byId.set(id, dialogue);
  }
  return { documents, empty };
}

/** The texts of a field; in a dialogue without ids a lone text is no dialogue. */
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
    bad.add(row.line, `“${column}” is ${describe(value)}; a text was expected`);
  } else if (isList) {
    return value;
  } else if (typeof value === 'string' && (columns.length > 1 || dialogueId !== undefined)) {
    return [value];
  } else {
    const expected =
      'a list of turns was expected, or a second column of turns, or a column of dialogue ids';
    bad.add(row.line, `“${column}” is ${describe(value)}; ${expected}`);
  }
  return [];
}

const shorten = (text: string) => (text.length > 40 ? `${text.slice(0, 40)}…` : text);
const excerpt = (values: readonly string[]) => `“${shorten(values.join(','))}”`;

function describe(value: unknown): string {
  if (value === undefined) return 'not there';
  if (typeof value === 'string') return `the text “${shorten(value)}”`;
  if (Array.isArray(value)) return `a list, ${shorten(JSON.stringify(value))}`;
  return shorten(JSON.stringify(value));
}
