// Asking the student and the teacher of a paused run, as a person does in the box “Try it”.

import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { button, eventually, reached, stepOf } from './drive';

const answerOf = (page: Page, who: 'Student' | 'Teacher') =>
  page.getByRole('listbox', { name: `${who}’s tokens` }).locator('.token');
const textOf = async (page: Page, who: 'Student' | 'Teacher') =>
  (await answerOf(page, who).evaluateAll((all) => all.map((each) => each.firstChild?.textContent)))
    .join('')
    .replaceAll('↵', '\n');

/** Asks, and waits for the end. Returns both answers. */
async function ask(page: Page): Promise<string[]> {
  const status = page.locator('.say [role=status]');
  await button(page, 'Ask both').click();
  await eventually(() => status.innerText()).toMatch(/The student spoke after step \d+/);
  return [await textOf(page, 'Student'), await textOf(page, 'Teacher')];
}

/** What the teacher said at the run's evaluations, which draw the same random numbers. */
async function evaluated(page: Page): Promise<string> {
  const quote = page.locator('.samples .quote.teacher blockquote');
  const prompt = await quote.locator('.prompt').innerText();
  return (await quote.innerText()).slice(prompt.length);
}

const fieldOf = (page: Page, name: string) =>
  page.locator('.say').getByLabel(name, { exact: true });

/** Opens the box, for answers of a few tokens. */
export async function openTryIt(page: Page): Promise<void> {
  await page.getByText('Try it', { exact: true }).click();
  await fieldOf(page, 'Tokens').fill('4');
}

/** Asks a paused run, twice alike; then reads the table by keyboard, and stops a long answer. */
export async function tryIt(page: Page): Promise<void> {
  const field = (name: string) => fieldOf(page, name);
  const first = await ask(page);
  const said = await evaluated(page);
  expect(said.length).toBeGreaterThan(0);
  expect(first[1].replaceAll('\n', ' ').slice(0, said.length)).toBe(said);
  expect(await ask(page), 'the same seed').toEqual(first);

  // By keyboard: from token to token, and the table follows.
  const table = page.getByRole('region', { name: 'What both expected' });
  await answerOf(page, 'Student').last().focus();
  await page.keyboard.press('Home');
  await eventually(() => table.getByRole('heading').innerText()).toMatch(/^After “The whale” +KL/);
  const rows = await table.locator('tbody tr').allInnerTexts();
  expect(rows.length).toBeGreaterThanOrEqual(5);
  for (const row of rows) expect(row).toMatch(/\S+\s+<?[\d.]+%\s+<?[\d.]+%/);

  await field('Top p').fill('2');
  await eventually(() => page.locator('.say .field-problem').innerText()).toBe(
    'Top p is 2. It must be a number from 0.01 to 1.',
  );
  expect(await button(page, 'Ask both').isDisabled()).toBe(true);
  await field('Top p').fill('1');

  await field('Tokens').fill('1024');
  await field('Tokens').press('Enter');
  await eventually(() => answerOf(page, 'Student').count()).toBeGreaterThan(4);
  await button(page, 'Stop').click();
  await eventually(() => page.locator('.say [role=status]').innerText()).toContain('Stopped.');
  await field('Tokens').fill('4');
}

/** Asks a run that trains, which waits, and then trains on. */
export async function tryInMidRun(page: Page): Promise<void> {
  await ask(page);
  await reached(page, (await stepOf(page)) + 1);
}
