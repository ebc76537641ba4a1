// Without a connection, under a sub-path: after one visit the page opens, says what works, and runs
// with the model that was used. A newer version is offered, and never comes by itself.

import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { button, eventually, link, notices, offered, primary, run, set } from './drive';
import { openSite, visit } from './harness';

/** onnxruntime's WebAssembly must be kept, too. */
const SETTINGS = link({
  batch_size: 2,
  max_length: 16,
  train_steps: 2,
  eval_batches: 1,
  sample_tokens: 2,
  teacher_engine: 'onnxruntime',
});

test('a second visit needs no connection, and a new version waits until asked for', async () => {
  const site = await openSite({ base: '/some/where/', likePreview: true });
  const { page, foreign, close } = await visit(site, {
    offer: 'f16',
    path: SETTINGS,
    serviceWorkers: 'allow',
  });
  const context = page.context();
  const controlled = () => page.evaluate(() => navigator.serviceWorker.controller?.scriptURL ?? '');
  await eventually(controlled).toBe(`${site.url}service-worker.js`);
  await run(page);

  await context.setOffline(true);
  await eventually(() => notices(page)).toContain('You are offline.');
  await page.reload();
  await eventually(() => notices(page)).toContain('what was used here: moby-teacher');
  const before = site.requests.length;
  await run(page);
  // The browser itself looks for a newer service worker, which no emulation keeps from it.
  const requests = site.requests.slice(before).filter((path) => path !== 'service-worker.js');
  expect(requests).toEqual([]);
  await context.setOffline(false);
  await eventually(() => notices(page)).not.toContain('You are offline.');

  // Any other byte makes another version.
  const script = await readFile('dist/service-worker.js', 'utf8');
  site.files.set('service-worker.js', Buffer.from(`${script}\n// newer`));
  await page.evaluate(async () => {
    await (await navigator.serviceWorker.getRegistration())?.update();
  });
  await eventually(() => notices(page)).toContain('A new version of this page is ready.');
  await set(page, 'train_steps', '100000');
  await primary(page).click();
  await eventually(() => button(page, 'Reload').isDisabled(), 'it waits during a run').toBe(true);
  await button(page, 'Reset').click();
  const loaded = page.waitForEvent('load');
  await button(page, 'Reload').click();
  await loaded;
  await offered(page, 'Distil');
  expect(await notices(page)).not.toContain('A new version');
  expect(foreign).toEqual([]);
  await close();
});
