// Check my GPU, in the built page: every kernel passes, and the table can be copied as text. The
// kernels in f16 are checked in tests/gpu/check.test.ts.

import { beforeAll, expect, test } from 'vitest';
import { button, eventually, PATIENCE_WITH_A_RUN } from './drive';
import { openSite, type Site, visit } from './harness';

let site: Site;
beforeAll(async () => {
  site = await openSite();
});

test('every kernel passes', async () => {
  const { page, problems, close } = await visit(site, {
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  const fold = page.locator('details', { hasText: 'Check my GPU' }).locator('summary');
  await fold.click();
  await button(page, 'Check every kernel').click();
  await eventually(() => fold.innerText(), 'the check is done', PATIENCE_WITH_A_RUN).toMatch(
    /passed|failed|stopped/,
  );
  const rows = await page
    .locator('.check-table tbody tr')
    .evaluateAll((all) =>
      all.map((row) => [...row.children].map((cell) => cell.textContent ?? '')),
    );
  expect(rows.filter((cells) => cells[2] !== 'passed')).toEqual([]);
  expect(await fold.innerText()).toContain(`all ${rows.length} passed`);
  expect(new Set(rows.map((cells) => cells[1]))).toEqual(new Set(['f32']));
  expect(new Set(rows.map(([kernel]) => kernel.split(' ')[0])).size).toBeGreaterThan(12);

  await button(page, 'Copy as text').click();
  await eventually(() => button(page, 'Copied').isVisible()).toBe(true);
  const text = await page.evaluate(() => navigator.clipboard.readText());
  expect(text).toMatch(/^adapter: \S+/m);
  expect(text).toContain('shader-f16 no');
  expect(text).toContain(await page.evaluate(() => navigator.userAgent));
  expect(text.match(/ passed$/gm)).toHaveLength(rows.length);
  expect(problems).toEqual([]);
  await close();
});
