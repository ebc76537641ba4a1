// What every page owes each of its readers: axe finds no violated rule, and nothing scrolls
// sideways.

import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';

/** Each width and each theme once: the colour rules do not depend on the width. */
export const LOOKS = [
  { viewport: { width: 1440, height: 900 }, colorScheme: 'light' },
  { viewport: { width: 390, height: 844 }, colorScheme: 'dark' },
] as const;

/**
 * Cells that look alike: the first stand for all, since axe is slow on hundreds of them. A heat map
 * is one picture to assistive technology.
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

interface Scope {
  /** What the page shows, for a failure's message. */
  state?: string;
  /** Selects what is checked; all by default. */
  parts?: string[];
  /** A part does not know which headings stand before it. */
  exceptRules?: string[];
}

export async function expectAccessible(
  page: Page,
  { state = '', parts = [], exceptRules = [] }: Scope = {},
): Promise<void> {
  const [width, wanted] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    innerWidth,
  ]);
  expect(width, `${state}: the width of what is shown`).toBeLessThanOrEqual(wanted);
  const { violations, passes } = await runAxe(page, parts, exceptRules);
  expect(passes, `${state}: rules that apply`).toBeGreaterThan(parts.length ? 5 : 10);
  expect(violations, state).toEqual([]);
}

/**
 * The page computes it, and answers with what is asked alone: axe's own results describe every
 * element that passed, which takes most of the time.
 */
async function runAxe(
  page: Page,
  parts: string[],
  exceptRules: string[],
): Promise<{ violations: string[]; passes: number }> {
  // A colour that fades in is not yet the colour.
  await page.evaluate(() =>
    Promise.allSettled(
      document
        .getAnimations()
        .filter(({ effect }) => Number(effect?.getComputedTiming().endTime) < Infinity)
        .map(({ finished }) => finished),
    ),
  );
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(`${axe.source}; 0`);
  return page.evaluate(
    async ([include, same, off]) => {
      // Even what it is told to leave out, axe walks through: those cells leave the page meanwhile.
      const left = [...document.querySelectorAll(same)].map((cell) => {
        const place = document.createComment('');
        cell.replaceWith(place);
        return { cell, place };
      });
      const { violations, passes } = await (window as unknown as { axe: typeof axe }).axe.run(
        include.length > 0 ? { include } : document,
        {
          resultTypes: ['violations'],
          rules: Object.fromEntries(off.map((id) => [id, { enabled: false }])),
        },
      );
      for (const { cell, place } of left.reverse()) place.replaceWith(cell);
      return {
        violations: violations.map(
          ({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join('; ')}`,
        ),
        passes: passes.length,
      };
    },
    [parts, MORE_OF_THE_SAME.join(', '), exceptRules] as const,
  );
}
