// Data of one's own in the built page: what is read, what is refused and why, and a run on it. The
// worker is the real one.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { expectAccessible, LOOKS, look } from './accessible';
import { button, eventually, follow, link, notices, offered, run, set } from './drive';
import { sharedVisit, type Visit, visit } from './harness';

const SMALL = {
  batch_size: 2,
  max_length: 16,
  train_steps: 2,
  eval_batches: 1,
  sample_tokens: 2,
  student_layers: 1,
};

const shared = sharedVisit({ offer: 'f16' });

interface Given {
  name: string;
  mimeType: string;
  buffer: Buffer;
}
const given = (name: string, content: string | Buffer): Given => ({
  name,
  mimeType: 'text/plain',
  buffer: Buffer.from(content),
});
const choose = (page: Page, ...files: Given[]) =>
  page.getByLabel('Data files').setInputFiles(files);
const drawerOf = (page: Page) =>
  page.locator('details.fold:not(.outer)', { has: page.getByLabel('Data files') });
/** The shared page with these settings, the built-in text and the drawer unfolded. */
async function open(settings: Record<string, string | number> = SMALL): Promise<Visit> {
  const { page } = shared;
  await follow(page, link(settings));
  const drawer = drawerOf(page);
  if ((await drawer.getAttribute('open')) === null) await drawer.locator('summary').click();
  const own = button(page, 'Use the built-in text again');
  if (await own.isVisible()) await own.click();
  return shared;
}

const batchOf = (page: Page) => page.getByRole('region', { name: 'The first batch as text' });
const says = (page: Page, name?: string) => eventually(() => drawerOf(page).innerText(), name);

/** Dialogues that differ, as a table of context and response. */
const TALK = `id,context,response\n${Array.from(
  { length: 60 },
  (_, i) => `${i % 30},"Where is whale number ${i}, sir?","It swims, ${i} times round the ship."`,
).join('\n')}\n`;

test('several files, a dropped one, a pasted text, and the book again', async () => {
  const { page, problems } = await open();
  const text = (word: string) =>
    `The ${word} swims in the deep sea, and nobody sees it. `.repeat(40);
  const jsonl = Array.from({ length: 50 }, (_, i) =>
    JSON.stringify({ text: `Number ${i} is a whale, too.` }),
  ).join('\n');
  await choose(
    page,
    given('a.txt', text('whale')),
    given('b.txt', text('shark')),
    given('c.jsonl', jsonl),
  );
  await says(page).toMatch(/c\.jsonl, \d\.\d kB, 50 documents\./);
  await says(page).toMatch(/Documents\s+52/);
  await eventually(() => drawerOf(page).locator('summary').innerText()).toContain('3 files');

  const transfer = await page.evaluateHandle((content) => {
    const made = new DataTransfer();
    made.items.add(new File([content], 'dropped.txt', { type: 'text/plain' }));
    return made;
  }, text('squid'));
  await page.locator('.drop').dispatchEvent('drop', { dataTransfer: transfer });
  await says(page).toContain('dropped.txt');
  await says(page).toContain('The end of the document is held out');

  await button(page, 'Paste text').click();
  await page.getByLabel('Your text').fill(text('crab'));
  await button(page, 'Use this text').click();
  await eventually(() => batchOf(page).innerText()).toContain('crab');

  // Too short for 16: no run starts on the crab meanwhile, and one click makes it fit.
  await button(page, 'Paste text').click();
  await page.getByLabel('Your text').fill('The eel swims in the deep sea. '.repeat(8));
  await button(page, 'Use this text').click();
  const fit = page.locator('.drop').getByRole('button', { name: /^Use a context of \d+$/ });
  await fit.waitFor();
  await offered(page, 'Distil, disabled');
  await fit.click();
  await eventually(() => batchOf(page).innerText()).toContain('eel');
  await offered(page, 'Distil');

  await button(page, 'Use the built-in text again').click();
  await button(page, 'Count tokens and show a batch').click();
  await eventually(() => batchOf(page).locator('li').count()).toBe(2);
  await set(page, 'batch_size', '3');
  await button(page, 'Count again with these settings').click();
  await eventually(() => batchOf(page).locator('li').count()).toBe(3);
  expect(problems).toEqual([]);
});

describe('refusals', () => {
  const whales = 'whale '.repeat(500);
  const utf16 = Buffer.from(`\ufeff${whales}`, 'utf16le');
  const refused: [Given, string | RegExp][] = [
    [given('empty.txt', ''), 'empty.txt is empty. Choose a text'],
    [
      given('spaces.txt', ' \n\n '),
      'spaces.txt: there is no text in it (4 bytes). Choose a file with text.',
    ],
    [
      given('short.txt', 'Call me Ishmael.'),
      /\d+ tokens are too few: .* at least 17 \(a context of 16 .*\)\. Use .* at least 170 tokens/,
    ],
    [
      given(
        'latin1.txt',
        Buffer.concat([Buffer.from('caf'), Buffer.of(0xe9), Buffer.from(` ${whales}`)]),
      ),
      'latin1.txt: not UTF-8 (byte 3 is 0xe9 (“é” in Latin-1), and 0x20 cannot follow it in ' +
        'UTF-8; 3005 bytes). Save it as plain text in UTF-8.',
    ],
    [
      given('wide.txt', utf16),
      'wide.txt: UTF-16, little-endian (it starts with the mark 0xff 0xfe); expected UTF-8.',
    ],
    [
      given('program.txt', Buffer.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0)),
      'program.txt: not text (byte 7 is 0x00)',
    ],
    [given('notes.pdf', 'x'), 'notes.pdf: unsupported file type.'],
    [given('rows.jsonl', '{"text": "good"}\n{"text": 3}'), 'Line 2: “text” is 3; expected a text.'],
    [
      given('quote.csv', 'text\n"open'),
      'quote.csv: 1 row cannot be read. Line 2: the quote that opens',
    ],
  ];

  test('each file is told what is wrong with it; the earlier data stays, and runs', async () => {
    const { page, problems } = await open();
    await choose(page, given('own.txt', 'The whale swims in the deep sea. '.repeat(200)));
    await says(page).toContain('own.txt, 6.6 kB, 1 document.');
    // By its path: the bytes of so large a file need not pass through the test.
    const folder = await mkdtemp(join(tmpdir(), 'stillhouse-'));
    const huge = join(folder, 'huge.txt');
    await writeFile(huge, Buffer.alloc(49 * 2 ** 20, 'whale '));
    await page.getByLabel('Data files').setInputFiles(huge);
    await says(page).toContain('huge.txt is 51.4 MB. The limit is 20.0 MB.');
    await eventually(() => drawerOf(page).locator('summary').innerText()).toContain('own.txt');
    await rm(folder, { recursive: true });
    for (const [file, said] of refused) {
      await choose(page, file);
      const expected = says(page, file.name);
      await (typeof said === 'string' ? expected.toContain(said) : expected.toMatch(said));
      expect(await drawerOf(page).locator('summary').innerText()).toContain('own.txt');
    }
    await choose(page, ...refused.slice(3, 6).map(([file]) => file), given('good.txt', whales));
    await eventually(() => drawerOf(page).getByRole('alert').count()).toBe(3);
    await says(page).toContain('good.txt, 3.0 kB, 1 document.');
    await button(page, 'Keep own.txt').click();
    await run(page);
    await button(page, 'Use the built-in text again').click();
    await offered(page, 'Distil');
    expect(problems).toEqual([]);
  });
});

// Last of those on one page: it leaves settings of how to read.
test('a table of dialogues: columns to choose, counts, a batch and a run, masked', async () => {
  const { page, problems } = await open({ ...SMALL, packing: 'masked' });
  await choose(page, given('talk.csv', TALK));
  await says(page).toContain(
    'talk.csv: there is no column “text”; it has “id”, “context”, “response”.',
  );
  await says(page).toContain('Still using Moby-Dick: talk.csv cannot be used yet.');

  const select = (label: string, value: string) =>
    drawerOf(page).getByLabel(label, { exact: true }).selectOption(value);
  await select('Text', 'response');
  await says(page).toContain('60 documents.');
  await says(page).toMatch(/6 whole documents held out|5 whole documents held out/);

  await select('Read as', 'dialogue');
  await says(page).toContain(
    'expected a list of turns, a second column of turns, or a column of dialogue ids',
  );
  await select('Turns', 'context');
  await select('Reply', 'response');
  await says(page).toContain('60 documents.');
  await eventually(() => batchOf(page).locator('mark').count()).toBeGreaterThan(0);
  await select('Read as', 'chat');
  await says(page).toContain('The teacher has no chat template');
  await select('Read as', 'dialogue');
  await says(page).toContain('60 documents.');
  await select('Dialogue id', 'id');
  await says(page).toContain('30 documents.');
  // Dialogues of two turns: two ends of text between two borders.
  const border = batchOf(page).getByRole('separator', { name: 'Next document' });
  await eventually(() => border.count()).toBeGreaterThan(0);
  await says(page).toContain('At a bar, attention and positions begin again.');

  const split = /(\d[\d,]*) tokens\s+Held out\s+(\d[\d,]*) tokens/;
  await says(page).toMatch(split);
  const [, training] = split.exec(await drawerOf(page).innerText()) ?? [];
  await run(page);
  // The run has split the data as the preview said.
  await says(page).toContain(`${training} tokens`);
  expect(await notices(page)).not.toContain('Could not');
  expect(problems).toEqual([]);
});

test('by keyboard on a phone; accessible, without anything sticking out', async () => {
  const { viewport } = LOOKS[1];
  const { page, close } = await visit(shared.site, { path: link(SMALL), viewport });
  await drawerOf(page).locator('summary').focus();
  await page.keyboard.press('Enter');
  await choose(page, given('talk.csv', TALK));
  await says(page).toContain('there is no column “text”');
  // From the file's buttons on: paste, the two choices.
  await button(page, 'Choose files').focus();
  await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Paste text');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('ArrowDown');
  await eventually(() => batchOf(page).count()).toBe(0);
  await drawerOf(page).getByLabel('Text', { exact: true }).selectOption('response');
  await eventually(() => batchOf(page).locator('li').count()).toBe(2);
  for (const each of LOOKS) {
    await look(page, each);
    const right = await page
      .locator('.drop')
      .evaluate((drop) =>
        Math.max(
          ...[drop, ...drop.querySelectorAll('*')].map((e) => e.getBoundingClientRect().right),
        ),
      );
    expect(right, each.colorScheme).toBeLessThanOrEqual(each.viewport.width);
    await expectAccessible(page, {
      state: each.colorScheme,
      parts: ['.drop'],
      exceptRules: ['heading-order'],
    });
  }
  await close();
});
