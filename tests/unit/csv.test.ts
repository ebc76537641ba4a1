// CSV by RFC 4180: what is a row, on which line it begins, and what is none.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CsvError, parseCsv } from '../../src/data/csv';

const values = (text: string) => parseCsv(text).map((row) => row.values);

test.each([
  ['a row', 'a,b', [['a', 'b']]],
  ['the last line break is optional', 'a\nb\n', [['a'], ['b']]],
  ['empty values', ',a,,b,', [['', 'a', '', 'b', '']]],
  ['spaces belong to values', ' a , b ', [[' a ', ' b ']]],
  [
    'quotes, with commas, line breaks and quotes within',
    '"a,b","c\nd","e""f",""',
    [['a,b', 'c\nd', 'e"f', '']],
  ],
  ['quotes alone', '"""",""""""', [['"', '""']]],
  ['an empty line is no row, a quoted nothing is one', 'a\n\n""\nb\n', [['a'], [''], ['b']]],
  ['nothing', '', []],
])('%s', (_, text, expected) => {
  expect(values(text)).toEqual(expected);
});

test('a row’s line is the one that it begins on', () => {
  expect(parseCsv('a\n"b\n\nc",x\n\nd').map(({ line }) => line)).toEqual([1, 2, 6]);
});

test.each([
  ['a quote in a bare value', 'a\nb"c,d', 2, 'a quote inside "b\\"c,d"'],
  [
    'text after the closing quote',
    'a\nb\n"c"d',
    3,
    'more text after the closing quote of "\\"c\\"d"',
  ],
  ['a space after the closing quote', '"c" ,d', 1, 'more text after the closing quote'],
  [
    'a quote never closed',
    'a,b\nc,"d\ne\nf',
    2,
    'the quote that opens "\\"d\\ne\\nf" is never closed',
  ],
  ['a quote never closed, at the end', 'a,"', 1, 'never closed'],
  ['only doubled ones', 'a,"b""', 1, 'never closed'],
])('%s is an error with its line', (_, text, line, message) => {
  expect(() => parseCsv(text)).toThrow(CsvError);
  expect(() => parseCsv(text)).toThrow(
    expect.objectContaining({ line, message: expect.stringContaining(message) }),
  );
});

const cell = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', ' ', 'é', '🐋', ';') });

test('any table comes back from quotes, and from as few quotes as there can be', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(cell, { minLength: 2, maxLength: 5 }), { maxLength: 8 }),
      (table) => {
        const quote = (value: string) => `"${value.replaceAll('"', '""')}"`;
        const write = (form: (value: string) => string) =>
          table.map((row) => row.map(form).join(',')).join('\n');
        expect(values(write(quote))).toEqual(table);
        expect(values(write((value) => (/[",\n]/.test(value) ? quote(value) : value)))).toEqual(
          table,
        );
      },
    ),
    { seed: 1, numRuns: 500 },
  );
});

test('a value of 10 MB, quoted and bare', () => {
  const long = 'whale '.repeat(1_700_000);
  expect(values(`"${long}""",${long}`)).toEqual([[`${long}"`, long]]);
});
