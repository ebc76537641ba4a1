// The examples gallery's rows: each link can be opened, each picture is there, and all are small.

import { readdirSync, statSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseState as parseBug } from '../../../src/app/bug/settings';
import { EXAMPLES } from '../../../src/app/examples/examples';
import { makeLessons } from '../../../src/app/lessons/lessons';
import recorded from '../../../src/app/lessons/recorded.json';
import { parseState } from '../../../src/app/lessons/state';
import { type Room, roomOf } from '../../../src/app/shared/rooms';
import { parseChain } from '../../../src/app/strides/chain-text';
import type { LessonFile } from '../../../src/distributions';
import { parseLink } from '../../../src/link';

const FOLDER = 'public/examples';
/** Of all pictures together. */
const MOST_BYTES = 150_000;

const ALL = EXAMPLES.flatMap(({ examples }) => examples);
const PARSERS: Record<Room, (text: string) => object> = {
  distil: parseLink,
  lessons: (text) => parseState(text, makeLessons(recorded as LessonFile)),
  strideLab: parseChain,
  bugLab: parseBug,
  runs: () => ({ problem: 'Runs are kept in one browser.' }),
  examples: () => ({ problem: 'The gallery would open itself.' }),
};

test.each(ALL)('“$title” opens', ({ hash, sentence }) => {
  const { room, text } = roomOf(hash);
  const parsed = PARSERS[room](text);
  expect('problem' in parsed || 'problems' in parsed, JSON.stringify(parsed)).toBe(false);
  expect(sentence).toMatch(/[.?]$/);
});

test('each has a picture of its own, no picture is left over, and all are small', () => {
  const pictures = readdirSync(FOLDER).sort();
  expect(pictures).toEqual(ALL.map(({ name }) => `${name}.webp`).sort());
  const bytes = pictures.reduce((sum, file) => sum + statSync(`${FOLDER}/${file}`).size, 0);
  expect(bytes).toBeLessThan(MOST_BYTES);
});
