// The page in every designed state, as `?states` shows it: nothing overflows and nothing fails, in
// both themes, in a large and in a small window. And the picture in the README, which SCREENSHOT=1
// renews from a run with the default settings.

import { beforeAll, expect, test } from 'vitest';
import { STATES } from '../../src/app/states/states';
import { FINISHED, offered, primary } from './drive';
import { openSite, type Site, visit } from './harness';

/** An empty page of 1440 × 900 takes 5 kB. */
const LEAST_BYTES = 40_000;

let site: Site;
beforeAll(async () => {
  site = await openSite({ wholeBook: true });
});

/**
 * Each scene alone, and each notice in the first of its scenes: it stands in the same place in all
 * of them.
 */
const SHOWN = STATES.filter(({ name }, i) => {
  const [, notice] = name.split(',');
  return !notice || STATES.findIndex((other) => other.name.endsWith(`,${notice}`)) === i;
});

// Layout does not depend on the theme, so each window has one.
test.each([
  { width: 1440, height: 900, colorScheme: 'light' },
  { width: 390, height: 844, colorScheme: 'dark' },
] as const)(
  'every designed state, $colorScheme, $width × $height',
  async ({ colorScheme, ...viewport }) => {
    const path = `?states=${SHOWN[0].name}`;
    const { page, problems, close } = await visit(site, { viewport, colorScheme, path });
    await page.locator('.run-buttons').waitFor();
    for (const { name, title } of SHOWN) {
      await page.evaluate((state) => {
        history.replaceState(null, '', `?states=${state}`);
        dispatchEvent(new PopStateEvent('popstate'));
      }, name);
      await page.locator('.run-buttons').waitFor();
      const { scrollWidth, text } = await page.evaluate(() => ({
        scrollWidth: document.documentElement.scrollWidth,
        text: document.body.innerText,
      }));
      expect(scrollWidth, title).toBeLessThanOrEqual(viewport.width);
      // A value that nobody formatted.
      expect(text, title).not.toMatch(/undefined|\[object|\bnull\b/);
      expect(problems, title).toEqual([]);
    }
    await close();
  },
);

test('a finished run fills the page', async () => {
  const renew = Boolean(process.env.SCREENSHOT);
  const { page, problems, close } = await visit(site, {
    offer: renew ? 'f16' : 'f32',
    path: renew ? '' : '?states=finished',
  });
  if (renew) {
    await offered(page, 'Distil');
    await primary(page).click();
  }
  await offered(page, FINISHED);
  await page
    .getByRole('figure', { name: 'Loss' })
    .locator('.recharts-line-curve')
    .first()
    .waitFor();
  await page.mouse.move(0, 0);
  const png = await page.screenshot(renew ? { path: 'public/screenshot.png' } : {});
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1440, 900]);
  expect(png.length).toBeGreaterThan(LEAST_BYTES);
  expect(problems).toEqual([]);
  await close();
});
