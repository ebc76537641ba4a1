// The built page opens, from a sub-path too, with nothing wrong and nothing asked of anybody else.

import { expect, test } from 'vitest';
import { openSite, visit } from './harness';

test.each(['/', '/some/where/'])('the page opens from %s without a problem', async (base) => {
  const site = await openSite({ base });
  const { page, problems, close } = await visit(site);
  await expect.poll(() => page.getByRole('main').isVisible()).toBe(true);
  await page.waitForLoadState('networkidle');
  expect(await page.title()).toContain('Stillhouse');
  expect(problems).toEqual([]);
  await close();
});
