// Comma-separated values by RFC 4180, strictly: what a spreadsheet would guess at is an error with
// its line.

/** A table that cannot be read, and on which line it stops being one. */
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
  /** The line that the row begins on, from 1; a quoted value may go on over several. */
  line: number;
  values: string[];
}

/**
 * Rows of values. Line breaks are `\n`; a value in quotes may hold commas, line breaks and doubled
 * quotes; an empty line is no row. Throws a CsvError: a quote inside a bare value, anything but a
 * comma after a closing one, or a quote that is never closed.
 */
export function parseCsv(text: string): CsvRow[] {
  const rows: CsvRow[] = [];
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
      const excerpt = JSON.stringify(text.slice(at, at + 40));
      const quoted = text[at] === '"';
      let end = at;
      if (quoted) {
        // A quote that is doubled stands for itself; the first that is not closes the value.
        do {
          end = text.indexOf('"', end + 1);
          if (end < 0)
            fail(
              `the quote that opens ${excerpt} is never closed; a quote within a value has to be doubled`,
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
            ? `more text after the closing quote of ${excerpt}, where a comma or a line break was expected`
            : `a quote inside ${excerpt}; a value with quotes has to stand in quotes, with its own doubled`,
        );
      }
      const value = text.slice(at, end);
      row.values.push(quoted ? value.slice(1, -1).replaceAll('""', '"') : value);
      for (let i = value.indexOf('\n'); i >= 0; i = value.indexOf('\n', i + 1)) line++;
      at = end + 1;
      if (next !== ',') break;
    }
    line++;
    if (at - 1 > start) rows.push(row);
  }
  return rows;
}
