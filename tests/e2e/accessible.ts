// What every page owes each of its readers: axe finds no violated rule, and nothing scrolls
// sideways.

import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';

/** Each width and each theme once: the colour rules do not depend on the width. */
export const LOOKS = [
  { viewport: { width: 1440, height: 900 }, colorScheme: 'light' },
  { viewport: { width: 390, height: 844 }, colorScheme: 'dark' },
] as const;

/**
 * Cells of one look. The first stand for all: axe takes a second for fifty of them. A heat map is
 * one picture to assistive technology.
 */
const MORE_OF_THE_SAME = [
  '.heat-cell',
  '.heat-table tbody tr:nth-child(n + 2)',
  '.strides .cells > :nth-child(n + 3)',
  '.strides .line:nth-child(n + 4)',
  '.strides .block:nth-child(n + 3)',
  '.strides .strip > :nth-child(n + 5)',
  '.cell-table tbody tr:nth-child(n + 3)',
];

export async function look(
  page: Page,
  { viewport, colorScheme }: (typeof LOOKS)[number],
): Promise<void> {
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
}

/** All that folds is unfolded, so that it is checked too. */
export const unfoldAll = (page: Page): Promise<void> =>
  page.locator('details').evaluateAll((all) => {
    for (const fold of all) fold.setAttribute('open', '');
  });

/** Checks the page, or the parts of it that `parts` selects. `state`: what the page shows. */
export async function expectAccessible(
  page: Page,
  { state = '', parts = [] }: { state?: string; parts?: string[] } = {},
): Promise<void> {
  const [width, wanted] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    innerWidth,
  ]);
  expect(width, `${state}: the width of what is shown`).toBeLessThanOrEqual(wanted);
  const axe = new AxeBuilder({ page });
  for (const part of parts) axe.include(part);
  // A part does not know which headings stand before it.
  if (parts.length > 0) axe.disableRules(['heading-order']);
  for (const cells of MORE_OF_THE_SAME) axe.exclude(cells);
  const { violations, passes } = await axe.analyze();
  expect(passes.length, `${state}: rules that apply`).toBeGreaterThan(parts.length ? 2 : 10);
  expect(
    violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join('; ')}`,
    ),
    state,
  ).toEqual([]);
}
