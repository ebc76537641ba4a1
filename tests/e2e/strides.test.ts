// The Stride Lab in the built page: every lesson answered by clicks and compared with PyTorch;
// links, cells, keyboard.

import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { OPERATIONS } from '../../src/app/strides/chain';
import { LESSONS } from '../../src/app/strides/lessons';
import { expectAccessible, LOOKS, look, unfoldAll } from './accessible';
import { button, eventually, go } from './drive';
import { sharedVisit } from './harness';

interface Golden {
  id: string;
  error?: string;
  result?: {
    shape: number[];
    stride: number[];
    storage_offset: number;
    contiguous: boolean;
    numel: number;
    copied: boolean;
  };
  values?: number[];
}

const goldens = new Map(
  readFileSync('tests/fixtures/goldens/lessons.jsonl', 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Golden)
    .map((golden) => [golden.id, golden]),
);
const STORY = LESSONS[0].chain;

const lab = (chain: string) => `#lab=${chain}`;
/** This room needs no adapter, and starting one is slow. */
const shared = sharedVisit({ offer: 'no-webgpu', path: lab(STORY) });

/**
 * Opens a link in the page that all tests share. It goes by way of another chain, so that the page
 * hears of the link even if it shows that chain already.
 */
async function open(chain: string): Promise<Page> {
  await go(shared.page, lab('7'));
  await go(shared.page, lab(chain));
  return shared.page;
}

const textOf = (page: Page, what: string) => page.getByTestId(what).innerText();
const hash = (page: Page) => page.evaluate(() => location.hash);
const view = (page: Page) => page.getByRole('group', { name: /^View/ });
const strip = (page: Page) => page.getByRole('group', { name: /^Storage/ });
const highlightedIn = (page: Page, picture: (page: Page) => ReturnType<typeof view>) =>
  picture(page)
    .locator('[aria-current=true]')
    .evaluateAll((all) => all.map((cell) => cell.getAttribute('aria-label')));

/** The verdict that the page shows, in the form of the goldens. */
async function verdictOf(page: Page): Promise<Omit<Golden, 'id'>> {
  const verdict = await textOf(page, 'verdict');
  if (await page.getByTestId('refusal').isVisible()) {
    expect(verdict).toMatch(/^PyTorch refuses /);
    return { error: await textOf(page, 'refusal') };
  }
  const numbers = async (name: string) => JSON.parse(await textOf(page, `fact-${name}`));
  const shape: number[] = await numbers('shape');
  const numel = shape.reduce((a, b) => a * b, 1);
  const copied = verdict === `Copies ${numel} elements, ${numel * 2} bytes`;
  if (!copied) expect(verdict).toBe('Free: the same memory');
  const cells = await view(page).getByRole('button').allInnerTexts();
  return {
    result: {
      shape,
      stride: await numbers('strides'),
      storage_offset: await numbers('offset'),
      contiguous: (await textOf(page, 'fact-contiguous')) === 'yes',
      numel,
      copied,
    },
    values: cells.map(Number),
  };
}

test('every lesson asks first, then shows PyTorch’s result', async () => {
  const page = await open('');
  for (const lesson of LESSONS) {
    await page
      .getByRole('navigation', { name: 'Lessons' })
      .getByRole('link', { name: lesson.title, exact: true })
      .click();
    await eventually(() => page.locator('p.question').innerText()).toBe(lesson.question);
    await eventually(() => hash(page)).toContain(lesson.chain === STORY ? '#lab=' : lesson.chain);
    // Nothing on the page gives the answer away yet.
    expect(await page.getByTestId('verdict').count()).toBe(0);
    expect(await page.locator('.strides').innerText()).not.toMatch(/refused|copied|fails/i);
    const options = await page.locator('.options .secondary').allInnerTexts();
    expect(options).toEqual(lesson.options);
    const choice = (lesson.right + 1) % options.length;
    await button(page, lesson.options[choice]).click();
    expect(await verdictOf(page), lesson.title).toEqual(pick(lesson.chain));
    await eventually(() => textOf(page, 'predicted')).toBe(
      `You chose “${lesson.options[choice]}”. Answer: ${lesson.options[lesson.right]}.`,
    );
    await eventually(() => page.locator('.verdict .answer').innerText()).toBe(lesson.answer);
  }
  expect(shared.problems).toEqual([]);
});

/** The golden, reduced to the fields that the page shows. */
function pick(chain: string): Omit<Golden, 'id'> {
  const golden = goldens.get(chain);
  if (!golden) throw new Error(`lessons.jsonl has no ${chain}. Run make_lessons.py.`);
  return golden.error ? { error: golden.error } : { result: golden.result, values: golden.values };
}

test('confirms a right prediction; Show me needs none; links to the next lesson', async () => {
  const page = await open(STORY);
  await button(page, LESSONS[0].options[LESSONS[0].right]).click();
  await eventually(() => textOf(page, 'predicted')).toBe('You chose “PyTorch refuses”. Correct.');
  await eventually(() => page.evaluate(() => document.activeElement?.textContent)).toBe(
    'PyTorch refuses view',
  );
  expect(await page.locator('.why').allInnerTexts()).toContain(
    'To merge with dimension 1, dimension 0 would need stride 3 × 6 = 18. Its stride is 24.',
  );
  await page.getByRole('link', { name: `Next: ${LESSONS[1].title}` }).click();
  await button(page, 'Show me').click();
  await eventually(() => textOf(page, 'verdict')).toBe('Copies 36 elements, 72 bytes');
  expect(await page.getByTestId('predicted').count()).toBe(0);
});

test('the controls build a chain, show its verdict, and its link restores it', async () => {
  const page = await open('2,3');
  await eventually(() => textOf(page, 'verdict')).toBe('A new tensor, in row-major order');
  await button(page, 'transpose').click();
  await button(page, 'Add transpose').click();
  await eventually(() => hash(page)).toBe('#lab=2,3:transpose(0,1)');
  await eventually(() => textOf(page, 'verdict')).toBe('Free: the same memory');
  await button(page, 'view').click();
  await page.getByLabel('size 0').selectOption('6');
  await page.getByLabel('size 1').selectOption('none');
  await eventually(() => page.locator('.draft code').innerText()).toBe('x = x.view(6)');
  await button(page, 'Add view').click();
  await eventually(() => textOf(page, 'refusal')).toMatch(/^view size is not compatible/);
  await eventually(() => page.locator('.chips').count()).toBe(0);
  await button(page, 'Change').click();
  await page.getByLabel('size 0').selectOption('-1');
  await page.getByLabel('size 1').selectOption('2');
  await button(page, 'Change view').click();
  await eventually(() => textOf(page, 'verdict')).toBe('Free: the same memory');
  await eventually(() => hash(page)).toBe('#lab=2,3:transpose(0,1):view(-1,2)');
  await button(page, 'Remove').click();
  await button(page, 'contiguous').click();
  await button(page, 'Add contiguous').click();
  await eventually(() => textOf(page, 'verdict')).toBe('Copies 6 elements, 12 bytes');
  const built = await hash(page);
  expect(built).toBe('#lab=2,3:transpose(0,1):contiguous()');
  const shown = await page.locator('.strides').innerText();
  await page.reload();
  await eventually(() => page.locator('.strides').innerText()).toBe(shown);
  // A new start shape drops the operations that no longer fit.
  await page.getByLabel('dimensions').selectOption('1');
  await eventually(() => hash(page)).toBe('#lab=2');
  expect(shared.problems).toEqual([]);
});

test('a lesson’s chain built by hand asks no question until its link is opened', async () => {
  const page = await open('2,4,6');
  await button(page, 'slice').click();
  await button(page, 'Add slice').click();
  await eventually(() => hash(page)).toBe('#lab=2,4,6:slice(1,0,-1)');
  await eventually(() => textOf(page, 'verdict')).toBe('Free: the same memory');
  for (const { title } of [LESSONS[3], LESSONS[2]]) {
    await page.getByRole('link', { name: title, exact: true }).click();
    await button(page, 'Show me').waitFor();
  }
});

test.each(LESSONS.map(({ chain }) => chain))('the link %s opens its lesson', async (chain) => {
  const page = await open(chain);
  const lesson = LESSONS.find((one) => one.chain === chain);
  await eventually(() => page.locator('p.question').innerText()).toBe(lesson?.question);
  await button(page, 'Show me').click();
  expect(await verdictOf(page)).toEqual(pick(chain));
});

test('an invalid link says why and changes nothing', async () => {
  const page = await open('2,3:transpose(0,1)');
  await eventually(() => textOf(page, 'fact-strides')).toBe('[1, 3]');
  await page.evaluate(() => {
    location.hash = '#lab=2,3:explode(1)';
  });
  await eventually(() => page.getByRole('alert').innerText()).toBe(
    `This link cannot be opened. Operation 1 is "explode". It must be one of: ` +
      `${OPERATIONS.join(', ')}. The lab has not changed.`,
  );
  await eventually(() => textOf(page, 'fact-strides')).toBe('[1, 3]');
  await button(page, 'select').click();
  await button(page, 'Add select').click();
  await eventually(() => page.getByRole('alert').count()).toBe(0);
  await eventually(() => hash(page)).toBe('#lab=2,3:transpose(0,1):select(0,0)');
  expect(shared.problems).toEqual([]);
});

describe('the pictures', () => {
  test('pointing at a cell highlights it in both pictures and shows the address sum', async () => {
    const page = await open('2,4,6:slice(1,0,-1)');
    await button(page, 'Show me').click();
    await button(page, 'index [1, 2, 3], cell 39, holds 39').hover();
    await eventually(() => highlightedIn(page, strip)).toEqual(['cell 39, holds 39']);
    await eventually(() => textOf(page, 'sum')).toContain(
      'x[1, 2, 3] is at offset + i·s0 + j·s1 + k·s2 = 0 + 1·24 + 2·6 + 3·1 = 39',
    );
    await button(page, 'cell 8, holds 8').hover();
    await eventually(() => highlightedIn(page, view)).toEqual(['index [0, 1, 2], cell 8, holds 8']);
    const unread = button(page, 'cell 20, holds 20, not in the view');
    const before = await unread.boundingBox();
    await unread.hover();
    await eventually(() => highlightedIn(page, view)).toEqual([]);
    await eventually(() => textOf(page, 'sum')).toContain('No index of the view reaches this cell');
    expect(await unread.boundingBox(), 'the text of the sum moves no cell').toEqual(before);
  });

  test('a cell highlights all its readers; a copy names each cell’s source', async () => {
    const page = await open('1,3:expand(4,3)');
    await button(page, 'cell 1, holds 1').hover();
    await eventually(() => highlightedIn(page, view)).toEqual(
      [0, 1, 2, 3].map((i) => `index [${i}, 1], cell 1, holds 1`),
    );
    await eventually(() => textOf(page, 'sum')).toContain('4 elements of the view read this cell.');
    await page.evaluate(() => {
      location.hash = '#lab=2,3:transpose(0,1):contiguous()';
    });
    await button(page, 'cell 1, holds 3').hover();
    await eventually(() => textOf(page, 'sum')).toContain(
      'It was copied from cell 3 of the previous storage.',
    );
  });

  test('are one tab stop each, and the arrow keys move inside', async () => {
    const page = await open('2,3,4:slice(2,0,3)');
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label'));
    const first = view(page).getByRole('button').first();
    await first.focus();
    const steps: [string, string][] = [
      ['ArrowRight', 'index [0, 0, 1], cell 1, holds 1'],
      ['ArrowDown', 'index [0, 1, 1], cell 5, holds 5'],
      ['PageDown', 'index [1, 1, 1], cell 17, holds 17'],
      ['ArrowLeft', 'index [1, 1, 0], cell 16, holds 16'],
      ['ArrowUp', 'index [1, 0, 0], cell 12, holds 12'],
      ['End', 'index [1, 2, 2], cell 22, holds 22'],
      ['ArrowRight', 'index [1, 2, 2], cell 22, holds 22'],
      ['Home', 'index [0, 0, 0], cell 0, holds 0'],
      ['Tab', 'cell 0, holds 0'],
      ['ArrowRight', 'cell 1, holds 1'],
      ['End', 'cell 23, holds 23, not in the view'],
    ];
    for (const [key, label] of steps) {
      await page.keyboard.press(key);
      expect(await focused(), key).toBe(label);
    }
  });

  test('can be shown as a table', async () => {
    const page = await open('2,3:transpose(0,1)');
    await page.getByText('As a table').click();
    const rows = await page.locator('.cell-table tbody tr').allInnerTexts();
    expect(rows.map((row) => row.split(/\s*\t\s*/))).toEqual([
      ['[0, 0]', '0 + 0·1 + 0·3', '0', '0'],
      ['[0, 1]', '0 + 0·1 + 1·3', '3', '3'],
      ['[1, 0]', '0 + 1·1 + 0·3', '1', '1'],
      ['[1, 1]', '0 + 1·1 + 1·3', '4', '4'],
      ['[2, 0]', '0 + 2·1 + 0·3', '2', '2'],
      ['[2, 1]', '0 + 2·1 + 1·3', '5', '5'],
    ]);
  });
});

test('a lesson can be answered with the keyboard alone', async () => {
  const page = await open(STORY);
  await page.reload();
  await page.locator('p.question').waitFor();
  const on = () => page.evaluate(() => document.activeElement?.textContent);
  let presses = 0;
  while ((await on()) !== 'PyTorch refuses') {
    expect(presses++, 'Tab presses until the option').toBeLessThan(60);
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await eventually(() => textOf(page, 'verdict')).toBe('PyTorch refuses view');
});

test.each(LOOKS)('accessible, nothing scrolls sideways: $colorScheme', async (each) => {
  const page = await open(STORY);
  await look(page, each);
  await page.reload();
  const check = async (state: string) => {
    await unfoldAll(page);
    await expectAccessible(page, { state });
  };
  await page.locator('p.question').waitFor();
  await check('a question');
  await button(page, 'Show me').click();
  await check('a refusal');
  // The widest and deepest tensor, with a form open and a problem shown.
  await go(page, '#lab=2,3,4,4:permute(3,2,1,0):contiguous():flatten()');
  await button(page, 'reshape').click();
  await go(page, '#lab=nothing');
  await page.getByRole('alert').waitFor();
  await check('a copy, and an invalid link');
});
