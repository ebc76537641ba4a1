// How messages quote what others wrote.

import { expect, test } from 'vitest';
import { parseState } from '../../src/app/bug/settings';
import { parseChain } from '../../src/app/strides/chain-text';
import { parseLink } from '../../src/link';
import { excerpt, shownJson } from '../../src/quote';

test('what cannot be seen is written as an escape, and long text is cut', () => {
  expect(excerpt('a\nb\0c\u202ed\ud800e')).toBe('a\\nb\\u0000c\\u202ed\\ud800e');
  expect(excerpt('ü🐋')).toBe('ü🐋');
  expect(excerpt('x'.repeat(41))).toBe(`${'x'.repeat(40)}…`);
});

test('a JSON value is shown as JSON; a long or deep one by its beginning', () => {
  const value = { a: [1, null, true, 'b"\n'], c: {} };
  expect(shownJson(value)).toBe(JSON.stringify(value));
  expect(shownJson(Array.from({ length: 1e6 }, () => 1))).toBe(`${'[1,1,1,1,1'.padEnd(60, ',1')}…`);
  const deep = JSON.parse(`${'['.repeat(20_000)}${']'.repeat(20_000)}`);
  expect(shownJson(deep)).toBe('[[[[[[[[[…]]]]]]]]');
  expect(shownJson(undefined)).toBe('missing');
  expect(shownJson({ ['k'.repeat(1e6)]: 'v'.repeat(1e6) }).length).toBe(61);
});

test.each(['\n', '\0', '\u202e', '\u2028'])(
  'the rooms’ links show %j as an escape',
  (character) => {
    const text = `x${character}y`;
    for (const answer of [parseState(text), parseChain(encodeURIComponent(text))]) {
      expect(answer).toHaveProperty('problem');
      expect((answer as { problem: string }).problem).not.toContain(character);
    }
    const link = parseLink(`v=1&alpha=${encodeURIComponent(text)}`);
    expect((link as { problems: string[] }).problems.join()).not.toContain(character);
  },
);
