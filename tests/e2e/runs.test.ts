// Runs that outlast their page: a killed browser's run goes on with the same bits.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, expect, test } from 'vitest';
import { eventually, FINISHED, link, offered, primary, reached, run, tableOf } from './drive';
import { flagsOf, openSite } from './harness';

const STEPS = 60;
const SMALL = link({
  batch_size: 2,
  max_length: 16,
  student_layers: 1,
  student_width: 16,
  sample_tokens: 0,
  eval_batches: 1,
  eval_steps: 10,
  train_steps: STEPS,
});

/** A browser with a profile on disk, which a test can kill. */
interface Profile {
  folder: string;
  browser: Browser;
  process: ChildProcess;
}

const profiles: Profile[] = [];
afterAll(async () => {
  for (const { process, folder } of profiles) {
    process.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
});

async function launch(folder: string): Promise<Profile> {
  const child = spawn(
    process.env.CHROMIUM as string,
    [...flagsOf('f32'), '--headless', '--remote-debugging-port=0', `--user-data-dir=${folder}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const address = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stderr.on('data', (data) => {
      text += data;
      const [, found] = /DevTools listening on (ws:\S+)/.exec(text) ?? [];
      if (found) resolve(found);
    });
    child.on('exit', () => reject(new Error(`Chromium ended at once: ${text}`)));
  });
  const profile = { folder, process: child, browser: await chromium.connectOverCDP(address) };
  profiles.push(profile);
  return profile;
}

async function openPage({ browser }: Profile, url: string): Promise<Page> {
  const [context] = browser.contexts();
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/** What is kept of a run, the oldest being 0: its step records, and its last state's checksums. */
const keptRun = (page: Page, index: number) =>
  page.evaluate(async (which) => {
    const root = await navigator.storage.getDirectory();
    const runs = await root.getDirectoryHandle('runs');
    const names: string[] = [];
    for await (const name of runs.keys()) names.push(name);
    const ids = names.filter((name) => !name.endsWith('.json')).sort();
    const folder = await runs.getDirectoryHandle(ids[which]);
    const read = async (name: string) =>
      (await (await folder.getFileHandle(name)).getFile()).text();
    const lines = (await read('metrics.jsonl')).trimEnd().split('\n');
    const [header] = (await read('checkpoint-60.bin')).split('\n');
    return {
      // All but the time that each took.
      steps: lines
        .filter((line) => line.startsWith('{"type":"step"'))
        .map((line) => JSON.stringify({ ...JSON.parse(line), seconds: 0 })),
      sha256: JSON.parse(header).sha256 as string[],
    };
  }, index);

test('a run whose browser is killed goes on with the bits of an uninterrupted one', async () => {
  const site = await openSite();
  const folder = await mkdtemp(join(tmpdir(), 'stillhouse-profile-'));
  const first = await launch(folder);
  const page = await openPage(first, site.url + SMALL);
  await run(page);
  const whole = await keptRun(page, 0);
  expect([whole.steps.length, whole.sha256.length]).toEqual([STEPS, 4]);

  await primary(page).click();
  await reached(page, STEPS / 2);
  const killed = new Promise((resolve) => first.process.once('exit', resolve));
  first.process.kill('SIGKILL');
  await killed;

  const second = await launch(folder);
  const again = await openPage(second, site.url + SMALL);
  const offer = again.getByRole('button', { name: /^Continue from step \d+$/ });
  await eventually(() => offer.count(), 'the run is offered').toBe(1);
  const step = Number(/\d+/.exec(await offer.innerText())?.[0]);
  expect(step).toBeGreaterThanOrEqual(STEPS / 2 - 10);
  await offer.click();
  await offered(again, FINISHED);
  expect(await keptRun(again, 1)).toEqual(whole);
  // The curve is that of the whole run.
  const evaluated = (await tableOf(again, 'Perplexity')).map(([at]) => at);
  expect(evaluated).toEqual(['0', '10', '20', '30', '40', '50', '60']);
  expect(await offer.count()).toBe(0);
});
