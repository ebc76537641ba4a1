// Parses comma-separated values strictly by RFC 4180. Where a spreadsheet would guess, this reports
// an error with its line.

import { visible } from '../quote';

/** A table that cannot be parsed, and the line of the error. */
export class CsvError extends Error {
  override name = 'CsvError';
  constructor(
    readonly line: number,
    message: string,
  ) {
    super(message);
  }
}

export interface CsvRow {
  /** The line on which the row begins, from 1. Quoted values may span several lines. */
  line: number;
  values: string[];
}

/** Values in a row; far more than any table has columns. */
const MOST_VALUES = 10_000;

/**
 * Rows of values, one at a time. Line breaks are `\n`. A quoted value may contain commas, line
 * breaks and doubled quotes. Empty lines are skipped.
 * @throws CsvError for a quote inside an unquoted value, text after a closing quote, a quote that
 * is never closed, or a row that is too long
 */
export function* parseCsv(text: string): Generator<CsvRow> {
  const bareEnd = /[",\n]|$/g;
  let at = 0;
  let line = 1;
  while (at < text.length) {
    const row: CsvRow = { line, values: [] };
    const start = at;
    for (;;) {
      const fail = (what: string): never => {
        throw new CsvError(line, what);
      };
      const excerpt = () => visible(JSON.stringify(text.slice(at, at + 40)));
      const quoted = text[at] === '"';
      let end = at;
      if (row.values.length === MOST_VALUES)
        fail(`more than ${MOST_VALUES.toLocaleString('en')} values; that is no table of texts`);
      if (quoted) {
        // A doubled quote stands for one quote; a single one closes the value.
        do {
          end = text.indexOf('"', end + 1);
          if (end < 0)
            fail(
              `the quote that opens ${excerpt()} is never closed; double the quotes inside a value`,
            );
        } while (text[end + 1] === '"' && ++end);
        end++;
      } else {
        bareEnd.lastIndex = at;
        end = bareEnd.exec(text)?.index ?? text.length;
      }
      const next = text[end];
      if (next !== undefined && next !== ',' && next !== '\n') {
        fail(
          quoted
            ? `more text after the closing quote of ${excerpt()}; expected a comma or a line break`
            : `a quote inside ${excerpt()}; put the value in quotes and double those inside it`,
        );
      }
      const value = text.slice(at, end);
      row.values.push(quoted ? value.slice(1, -1).split('""').join('"') : value);
      for (let i = value.indexOf('\n'); i >= 0; i = value.indexOf('\n', i + 1)) line++;
      at = end + 1;
      if (next !== ',') break;
    }
    line++;
    if (at - 1 > start) yield row;
  }
}
