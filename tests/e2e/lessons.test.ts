// The lessons on distillation in the built page: each asks, then shows; every state is a link;
// keyboard and accessibility.

import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { makeLessons } from '../../src/app/lessons/lessons';
import recorded from '../../src/app/lessons/recorded.json';
import type { LessonFile } from '../../src/distributions';
import { expectAccessible, LOOKS, look, unfoldAll } from './accessible';
import { button, eventually, go } from './drive';
import { sharedVisit } from './harness';

const LESSONS = makeLessons(recorded as LessonFile);
const [SOFT, TEMPERATURE] = LESSONS;

/** This room needs no adapter, and starting one is slow. */
const shared = sharedVisit({ offer: 'no-webgpu', path: '#lesson' });
const open = async (state: string): Promise<Page> => {
  await go(shared.page, `#lesson=${state}`);
  return shared.page;
};
const hash = (page: Page) => page.evaluate(() => location.hash);
const facts = (page: Page) => page.getByTestId('facts').locator('dd').allInnerTexts();
const factsOf = (id: string, value: number) =>
  LESSONS.find((lesson) => lesson.id === id)!
    .scene(value)
    .facts.map(([, text]) => text);

test('every lesson asks first, then shows what is computed', async () => {
  const { page } = shared;
  for (const lesson of LESSONS) {
    await page
      .getByRole('navigation', { name: 'Lessons' })
      .getByRole('link', { name: lesson.title, exact: true })
      .click();
    await eventually(() => page.locator('p.question').innerText()).toBe(lesson.question);
    expect(await page.getByTestId('facts').count()).toBe(0);
    expect(await page.getByRole('slider').count()).toBe(0);
    const wrong = (lesson.right + 1) % lesson.options.length;
    await button(page, lesson.options[wrong]).click();
    await eventually(() => page.getByTestId('predicted').innerText()).toBe(
      `You chose “${lesson.options[wrong]}”. Answer: ${lesson.options[lesson.right]}.`,
    );
    const { start } = lesson.control;
    expect(await hash(page)).toBe(`#lesson=${lesson.id}:${start}`);
    expect(await facts(page)).toEqual(factsOf(lesson.id, start));
    await eventually(() => page.evaluate(() => document.activeElement?.textContent)).toBe(
      lesson.title,
    );
    expect(await page.locator('.verdict .answer').innerText()).toBe(lesson.answer);
  }
  expect(shared.problems).toEqual([]);
});

test('the slider moves by keyboard, and the link restores what it shows', async () => {
  const page = await open(`${TEMPERATURE.id}:4`);
  await page.getByRole('slider').focus();
  await page.keyboard.press('ArrowRight');
  await eventually(() => hash(page)).toBe('#lesson=temperature:6');
  await eventually(() => facts(page)).toEqual(factsOf('temperature', 6));
  const shown = await page.locator('.distillation').innerText();
  await page.reload();
  await eventually(() => page.locator('.distillation').innerText()).toBe(shown);
  await page.getByRole('link', { name: 'Ask again' }).click();
  await button(page, 'Show me').click();
  await eventually(() => page.getByTestId('answer').innerText()).toBe(
    `Answer: ${TEMPERATURE.options[TEMPERATURE.right]}.`,
  );
});

test('a router trained in the page collapses, and recovers with the balance loss', async () => {
  const shares = async (page: Page) => {
    // It rests once it has trained for so long.
    await button(page, 'Train on').waitFor();
    const text = await page.getByTestId('live').innerText();
    return Array.from(text.matchAll(/Expert \d: (?:< )?([\d.]+)%/g), ([, share]) => Number(share));
  };
  const page = await open('experts:0');
  const collapsed = await shares(page);
  expect(collapsed).toHaveLength(4);
  expect(Math.max(...collapsed)).toBeGreaterThan(90);
  await open('experts:0.2');
  await button(page, 'Pause').waitFor();
  expect(Math.min(...(await shares(page)))).toBeGreaterThan(5);
  expect(shared.problems).toEqual([]);
});

test('an invalid link says why and changes nothing', async () => {
  const page = await open('temperature:8');
  const shown = await facts(page);
  await open('temperature:9');
  await eventually(() => page.getByRole('alert').innerText()).toContain(
    'This link cannot be opened. T is “9”. It must be one of: 0.5,',
  );
  expect(await facts(page)).toEqual(shown);
  await page.getByRole('link', { name: SOFT.title, exact: true }).click();
  await eventually(() => page.getByRole('alert').count()).toBe(0);
});

test.each(LOOKS)('accessible, nothing scrolls sideways: $colorScheme', async (each) => {
  const { page } = shared;
  await look(page, each);
  const check = async (state: string) => {
    await page.locator('p.question').waitFor();
    await unfoldAll(page);
    await expectAccessible(page, { state });
  };
  await open('soft');
  await check('a question');
  // Bars, lines and a table, and an invalid link.
  await open('capacity:16');
  await open('capacity:17');
  await page.getByRole('alert').waitFor();
  await check('a scene, and an invalid link');
  expect(shared.problems).toEqual([]);
});
