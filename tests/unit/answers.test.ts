// Finding the answers in a window of tokens. One character is one token here.

import { expect, test } from 'vitest';
import { answersIn } from '../../src/data/answers';

const tokens = (text: string) => Array.from(text, (c) => c.charCodeAt(0));
const marks = { after: '='.charCodeAt(0), end: '\n'.charCodeAt(0) };
const found = (text: string) =>
  answersIn(tokens(text), marks).map(([first, last]) => text.slice(first, last + 1));

test('each whole line has one answer, which ends with the line', () => {
  expect(found('\nba=ab\ndc=cd\n')).toEqual(['ab\n', 'cd\n']);
});

test('a line that the window cuts at either end does not count', () => {
  expect(found('a=ab\ndc=cd\nfe=e')).toEqual(['cd\n']);
  expect(found('ba=ab')).toEqual([]);
});

test('a line without a question has no answer; a second mark belongs to the answer', () => {
  expect(found('\nab\n=\na=b=c\n')).toEqual(['\n', 'b=c\n']);
});
