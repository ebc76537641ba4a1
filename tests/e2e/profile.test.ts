// What a paused run offers, in the built page: where a step goes, both models' answers, and what
// was learned of the held-out text. The run then goes on.

import type { Locator, Page } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import { expectAccessible, LOOKS, look } from './accessible';
import { button, eventually, link, offered, pauseAfter, primary, reached, stepOf } from './drive';
import { openSite, type Site, visit } from './harness';
import { openTryIt, tryInMidRun, tryIt } from './try-it';

let site: Site;
beforeAll(async () => {
  site = await openSite();
});

/** Small, and more steps than it can take before it is paused. */
const SETTINGS = {
  batch_size: 2,
  max_length: 16,
  train_steps: 5000,
  eval_steps: 5000,
  eval_batches: 1,
  sample_tokens: 2,
};

/** The figures of the evaluation before training, and the passages with their bars. */
async function readWhatWasLearned(page: Page): Promise<void> {
  await page.getByText('What was learned', { exact: true }).click();
  const table = page.getByRole('region', { name: 'KL by place in the context' });
  await eventually(() => table.locator('tbody tr').allInnerTexts()).toEqual([
    expect.stringMatching(/^1\s+2\s+\d/),
    expect.stringMatching(/^2–3\s+4\s+\d/),
    expect.stringMatching(/^4–7\s+8\s+\d/),
    expect.stringMatching(/^8–15\s+16\s+\d/),
  ]);
  await button(page, 'Find the passages').click();
  // The token that is furthest off comes first.
  const bars = page.locator('.passage .expected');
  await eventually(() => bars.locator('tbody tr').count()).toBeGreaterThanOrEqual(5);
  const worst = page.getByRole('listbox', { name: /^Furthest from the teacher/ });
  const heading = await bars.locator('h3').innerText();
  await worst.getByRole('option', { selected: true }).focus();
  await page.keyboard.press((await isFirst(worst)) ? 'ArrowRight' : 'Home');
  await eventually(() => bars.locator('h3').innerText()).not.toBe(heading);
  const row = await bars.locator('.was-said').innerText();
  expect(row).toMatch(/, in the text\s+<?[\d.]+%\s+<?[\d.]+%/);
}

const isFirst = async (list: Locator) =>
  (await list.getByRole('option').first().getAttribute('aria-selected')) === 'true';

// A teacher outside our kernels is one row: tests/gpu/profile and tests/unit/app/profile show it.
test('a paused run is measured and asked, and goes on', async () => {
  const path = link({ ...SETTINGS, teacher_engine: 'stillhouse' });
  const { viewport } = LOOKS[1];
  const { page, problems, close } = await visit(site, { offer: 'f16', viewport, path });
  await offered(page, 'Distil');
  await page.getByText('Where a step goes', { exact: true }).click();
  await eventually(() => button(page, 'Measure').isDisabled()).toBe(true);
  await pauseAfter(page, 1);
  await primary(page).click();
  await offered(page, 'Continue');

  await button(page, 'Measure').click();
  const table = page.getByRole('region', { name: 'Kernels of a step, table' });
  await eventually(() => table.isVisible(), 'the table is there').toBe(true);
  const rows = () =>
    table
      .locator('tbody tr')
      .evaluateAll((all) =>
        all.map((row) => [...row.children].map((cell) => cell.textContent ?? '')),
      );
  const groups = ['Teacher', 'Student, forward and backward', 'Optimiser'];
  const names = (await rows()).map(([name]) => name);
  expect(names.filter((name) => groups.includes(name))).toEqual(groups);
  expect(names).toEqual(
    expect.arrayContaining(['attention', 'layernorm_backward', 'fkl', 'adamw']),
  );
  const [, time, share, flops, bytes] = (await rows()).find(([name]) =>
    name.startsWith('matmul'),
  ) as string[];
  expect(Number(time)).toBeGreaterThan(0);
  expect(share).toMatch(/^\d+\.\d%$/);
  for (const rate of [flops, bytes]) expect(rate).toMatch(/^[\d.,e-]+ \(\d+%\)$/);
  // By keyboard: a kernel unfolds into what it was used for.
  for (const product of await table.getByRole('button', { name: /^matmul/ }).all()) {
    await product.focus();
    await page.keyboard.press('Enter');
  }
  await eventually(async () => (await rows()).map(([name]) => name)).toEqual(
    expect.arrayContaining(['attn.c_attn', 'mlp.c_fc dw', 'head dx']),
  );
  await openTryIt(page);
  await tryIt(page);
  await readWhatWasLearned(page);
  for (const each of LOOKS.toReversed()) {
    await look(page, each);
    const parts = ['.profile', '.say', '.learned'];
    await expectAccessible(page, { state: each.colorScheme, parts });
  }

  const before = await stepOf(page);
  await primary(page).click();
  await reached(page, before + 2);
  await eventually(() => button(page, 'Measure again').isDisabled()).toBe(true);
  await tryInMidRun(page);
  expect(problems).toEqual([]);
  await close();
});
