// A finished run looks like one: the picture in the README, which SCREENSHOT=1 renews from the
// default settings.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FINISHED, link, offered, primary } from './drive';
import { openSite, visit } from './harness';

const SMALL = {
  batch_size: 2,
  max_length: 16,
  train_steps: 10,
  eval_steps: 5,
  eval_batches: 1,
  sample_tokens: 8,
};
/** An empty page of this size takes 5 kB. */
const LEAST_BYTES = 40_000;

test('a finished run fills the page', async () => {
  const renew = Boolean(process.env.SCREENSHOT);
  const folder = await mkdtemp(join(tmpdir(), 'stillhouse-'));
  const path = renew ? 'public/screenshot.png' : join(folder, 'screenshot.png');
  const { page, problems, close } = await visit(await openSite(), {
    offer: 'f16',
    path: renew ? '' : link(SMALL),
  });
  await offered(page, 'Distil');
  await primary(page).click();
  await offered(page, FINISHED);
  await page.mouse.move(0, 0);
  await page.screenshot({ path });
  const png = await readFile(path);
  await rm(folder, { recursive: true });
  expect(png.subarray(1, 4).toString()).toBe('PNG');
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1440, 900]);
  expect(png.length).toBeGreaterThan(LEAST_BYTES);
  expect(problems).toEqual([]);
  await close();
});
