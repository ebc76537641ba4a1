// Reading documents: what each file type gives, and the errors for files that cannot be read.

import { describe, expect, test } from 'vitest';
import { CorpusError } from '../../src/data/corpus';
import { ColumnsError, type Reading, readDocuments } from '../../src/data/documents';

const TEXT: Reading = { format: 'text', columns: ['text'] };
const DIALOGUE: Reading = { format: 'dialogue', columns: ['text'] };
const read = (name: string, text: string, reading: Reading = TEXT) =>
  readDocuments({ name, bytes: new TextEncoder().encode(text) }, reading);
const documents = (name: string, text: string, reading: Reading = TEXT) =>
  read(name, text, reading).documents;

/** The error of a refused file. */
function refusal(name: string, text: string, reading: Reading = TEXT): CorpusError {
  try {
    read(name, text, reading);
  } catch (error) {
    if (error instanceof CorpusError) return error;
    throw error;
  }
  throw new Error(`${name} was not refused`);
}

describe('texts', () => {
  test('a .txt is one document, with its empty lines', () => {
    expect(documents('a.txt', 'one\n\ntwo\r\n')).toEqual([['one\n\ntwo\n']]);
    expect(documents('A.TXT', 'one')).toEqual([['one']]);
  });

  test('each row of a .jsonl is a document: the chosen field', () => {
    const lines = '{"text": "one\\ntwo", "id": 1}\r\n\n{"id": 2, "text": "three"}\n';
    expect(read('a.jsonl', lines)).toEqual({
      documents: [['one\ntwo'], ['three']],
      columns: ['text', 'id'],
      empty: 0,
    });
    expect(documents('a.ndjson', '{"body": "x"}', { format: 'text', columns: ['body'] })).toEqual([
      ['x'],
    ]);
  });

  test('each row of a .csv is a document: the chosen column', () => {
    const table = 'id,text\r\n1,"one, with a ""quote""\r\nand a line"\r\n2,two\r\n';
    expect(read('a.csv', table)).toEqual({
      documents: [['one, with a "quote"\nand a line'], ['two']],
      columns: ['id', 'text'],
      empty: 0,
    });
  });

  test('empty values are counted', () => {
    expect(read('a.csv', 'id,text\n1,\n2,two\n3,"  "\n')).toMatchObject({
      documents: [['two']],
      empty: 2,
    });
  });
});

describe('dialogues', () => {
  test('in a .txt, each line is a turn, and empty lines separate dialogues', () => {
    expect(
      documents('a.txt', '\nHi.\nWho?\r\n \r\n\r\nCall me Ishmael.\n  Why?\n', DIALOGUE),
    ).toEqual([
      ['Hi.', 'Who?'],
      ['Call me Ishmael.', 'Why?'],
    ]);
  });

  test('in a .jsonl, a field is a list of turns, or there are fields for context and reply', () => {
    expect(
      documents('a.jsonl', '{"text": ["Hi.", "Who?"]}\n{"text": ["Alone."]}', DIALOGUE),
    ).toEqual([['Hi.', 'Who?'], ['Alone.']]);
    const reading: Reading = { format: 'dialogue', columns: ['context', 'response'] };
    expect(documents('a.jsonl', '{"response": "c", "context": ["a", "b"]}', reading)).toEqual([
      ['a', 'b', 'c'],
    ]);
  });

  test('in a .csv, columns are turns in the chosen order', () => {
    const reading: Reading = { format: 'dialogue', columns: ['context', 'response'] };
    expect(documents('a.csv', 'response,context\nb,a\nd,c\n', reading)).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
  });

  test('rows with the same dialogue id are one dialogue, even if not adjacent', () => {
    const reading: Reading = { ...DIALOGUE, dialogueId: 'id' };
    expect(documents('a.csv', 'id,text\n1,a\n2,x\n1,b\n2,y\n', reading)).toEqual([
      ['a', 'b'],
      ['x', 'y'],
    ]);
    expect(documents('a.jsonl', '{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}', reading)).toEqual(
      [['a', 'b']],
    );
  });

  test('empty turns are counted, and an empty dialogue is dropped', () => {
    const reading: Reading = { ...DIALOGUE, dialogueId: 'id' };
    expect(read('a.csv', 'id,text\n1,a\n1,\n2,\n', reading)).toMatchObject({
      documents: [['a']],
      empty: 2,
    });
  });
});

describe('refusals', () => {
  test('an unsupported file type', () => {
    expect(refusal('notes.pdf', 'x').message).toBe('notes.pdf: unsupported file type.');
    expect(refusal('notes', 'x').hint).toContain('.jsonl for one JSON object per line');
  });

  test('bytes that are not text, as in any file', () => {
    const bytes = Uint8Array.of(0x74, 0xe9, 0x0a);
    expect(() => readDocuments({ name: 'a.csv', bytes }, TEXT)).toThrow(
      'a.csv: not UTF-8 (byte 1 is 0xe9',
    );
  });

  test('a missing column, listing those that exist', () => {
    const error = refusal('a.csv', 'id,body\n1,x\n');
    expect(error.message).toBe('a.csv: there is no column “text”; it has “id”, “body”.');
    expect(error).toBeInstanceOf(ColumnsError);
    expect((error as ColumnsError).columns).toEqual(['id', 'body']);
    expect(refusal('a.jsonl', '{"body": "x"}').message).toBe(
      'a.jsonl: there is no field “text”; it has “body”.',
    );
    expect(refusal('a.csv', 'text\nx', { ...DIALOGUE, dialogueId: 'id' }).message).toContain(
      'no column “id”',
    );
    expect(refusal('a.csv', 'id;text\n1;x\n').hint).toContain('Columns are separated by commas');
  });

  test('a column without any text', () => {
    expect(refusal('a.csv', 'text,id\n,1\n,2\n').message).toBe(
      'a.csv: there is no text in “text” (2 rows).',
    );
  });

  test('bad rows of a .csv: their number, lines, contents and what was expected', () => {
    const error = refusal('a.csv', 'id,text\n1,x\n2\n3,y,z\n4,w\n5\n6\n');
    expect(error.message).toBe(
      'a.csv: 4 rows cannot be read. Line 3: 1 value (“2”), but the header has 2. ' +
        'Line 4: 3 values (“3,y,z”), but the header has 2. ' +
        'Line 6: 1 value (“5”), but the header has 2. And 1 more.',
    );
    expect(error.hint).toContain('nothing was imported');
  });

  test('a .csv that cannot be parsed', () => {
    expect(refusal('a.csv', 'id,text\n1,"open\n').message).toContain(
      'Line 2: the quote that opens "\\"open\\n" is never closed',
    );
    expect(refusal('a.csv', 'text,text\na,b\n').message).toContain(
      'Line 1: two columns are named “text”',
    );
  });

  test.each([
    ['{"text": "x"', '“{"text": "x"” is not JSON; expected an object'],
    ['["x"]', 'a list, ["x"]; expected an object'],
    ['null', 'null; expected an object'],
    ['{"id": 1}', '“text” is missing; expected a text'],
    ['{"text": 42}', '“text” is 42; expected a text'],
    ['{"text": ["a"]}', '“text” is a list, ["a"]; expected a text'],
  ])('a bad line of a .jsonl: %s', (line, what) => {
    expect(refusal('a.jsonl', `{"text": "good"}\n${line}\n`).message).toBe(
      `a.jsonl: 1 row cannot be read. Line 2: ${what}.`,
    );
  });

  test.each([
    ['{"text": "lone"}', '“text” is the text “lone”; expected a list of turns'],
    ['{"text": []}', '“text” is a list, []; expected a list of turns'],
    ['{"text": ["a", 1]}', '“text” is a list, ["a",1]; expected a list of turns'],
  ])('a bad dialogue of a .jsonl: %s', (line, what) => {
    expect(refusal('a.jsonl', line, DIALOGUE).message).toContain(`Line 1: ${what}`);
  });

  test('an empty dialogue id', () => {
    expect(refusal('a.csv', 'id,text\n,x\n', { ...DIALOGUE, dialogueId: 'id' }).message).toContain(
      'Line 2: “id” is the text “”; expected a text or a number',
    );
  });
});

describe('hostile files are refused at once, in a short message', () => {
  const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  const names = Array.from({ length: 200_000 }, (_, i) => `n${i}`).join();
  test.each([
    ['200,000 columns', 'a.csv', `${names}\nx`, 'Line 1: more than 10,000 values'],
    ['a name of a million letters', 'a.csv', `${'n'.repeat(1_000_000)}\nx`, 'there is no column'],
    ['a deeply nested value', 'a.jsonl', `{"text": ${deep}}`, '“text” is a list, [[[[[[[['],
    ['a deeply nested line', 'a.jsonl', deep, 'a list, [[[[[[[['],
    ['too many lines', 'a.jsonl', '{}\n'.repeat(1_000_001), 'more than 1,000,000 rows'],
    [
      'too many fields',
      'a.jsonl',
      names.replace(/n\d+,?/g, (name) => `{"${name}": 1}\n`),
      'more than 10,000 different fields',
    ],
    ['control characters', 'a.csv', 'a\u0007\u202e,a\u0007\u202e\nx,y', '“a\\u0007\\u202e”'],
  ])('%s', (_, name, text, message) => {
    const error = refusal(name, text);
    expect(error.message).toContain(message);
    expect(error.message.length + error.hint.length).toBeLessThan(400);
  });

  test('dialogues apart by millions of empty lines are read', () => {
    const text = `a${'\n'.repeat(5_000_000)}b`;
    expect(documents('a.txt', text, DIALOGUE)).toEqual([['a'], ['b']]);
  });
});
