// CSV by RFC 4180: rows, the lines on which they begin, and what is not valid.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CsvError, parseCsv } from '../../src/data/csv';

const values = (text: string) => [...parseCsv(text)].map((row) => row.values);

test.each([
  ['a row', 'a,b', [['a', 'b']]],
  ['the last line break is optional', 'a\nb\n', [['a'], ['b']]],
  ['empty values', ',a,,b,', [['', 'a', '', 'b', '']]],
  ['spaces are part of the value', ' a , b ', [[' a ', ' b ']]],
  [
    'quotes around commas, line breaks and doubled quotes',
    '"a,b","c\nd","e""f",""',
    [['a,b', 'c\nd', 'e"f', '']],
  ],
  ['quotes alone', '"""",""""""', [['"', '""']]],
  ['an empty line is not a row, an empty quoted value is', 'a\n\n""\nb\n', [['a'], [''], ['b']]],
  ['nothing', '', []],
])('%s', (_, text, expected) => {
  expect(values(text)).toEqual(expected);
});

test('a row’s line is the one on which it begins', () => {
  expect([...parseCsv('a\n"b\n\nc",x\n\nd')].map(({ line }) => line)).toEqual([1, 2, 6]);
});

test.each([
  ['a quote in an unquoted value', 'a\nb"c,d', 2, 'a quote inside "b\\"c,d"'],
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
  ['an opening quote and a doubled one', 'a,"b""', 1, 'never closed'],
])('%s is an error with its line', (_, text, line, message) => {
  expect(() => values(text)).toThrow(CsvError);
  expect(() => values(text)).toThrow(
    expect.objectContaining({ line, message: expect.stringContaining(message) }),
  );
});

const cell = fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', ' ', 'é', '🐋', ';') });

test('any table is read back, fully quoted or with the fewest quotes', () => {
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

test('a value of 10 MB, quoted and unquoted', () => {
  const long = 'whale '.repeat(1_700_000);
  expect(values(`"${long}""",${long}`)).toEqual([[`${long}"`, long]]);
});
