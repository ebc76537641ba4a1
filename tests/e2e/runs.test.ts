// Runs that outlast their page: a killed browser's run goes on with the same bits.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, type CDPSession, chromium, type Page } from 'playwright-core';
import { afterAll, beforeEach, expect, test } from 'vitest';
import type { Config } from '../../src/config';
import { zipFiles } from '../../src/files/unzip';
import { parseLink } from '../../src/link';
import { readNewest, writeCheckpoint } from '../../src/runs/checkpoint';
import { parseGhost } from '../../src/runs/ghost';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { packRun } from '../../src/runs/run-file';
import {
  button,
  eventually,
  FINISHED,
  follow,
  go,
  link,
  logLines,
  notices,
  offered,
  pauseAfter,
  primary,
  run,
  tableOf,
} from './drive';
import { flagsOf, openSite, PATIENCE, type Site, visit } from './harness';

/** Enough to be interrupted in time, even on a fast machine. */
const [STEPS, EVERY] = [72, 12];
const TINY = {
  batch_size: 2,
  max_length: 16,
  student_layers: 1,
  sample_tokens: 0,
  eval_batches: 1,
  eval_steps: EVERY,
};
const SMALL = link({ ...TINY, train_steps: STEPS });

/** A browser with a profile on disk, which a test can kill. */
interface Profile {
  folder: string;
  browser: Browser;
  process: ChildProcess;
}

const profiles: Profile[] = [];
/** The page of the last profile, with what the tests before have left in its storage. */
let left: Page | undefined;

async function leaveProfiles(): Promise<void> {
  left = undefined;
  for (const { process, folder } of profiles.splice(0)) {
    process.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
beforeEach(({ task }) => (task.result?.retryCount ? leaveProfiles() : undefined));
afterAll(leaveProfiles);

async function launch(folder: string): Promise<Profile> {
  const child = spawn(
    process.env.CHROMIUM_F16 as string,
    [...flagsOf('f16'), '--headless', '--remote-debugging-port=0', `--user-data-dir=${folder}`],
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
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  await page.goto(url);
  return page;
}

/** A page with a profile of its own, and nothing kept. */
async function openFresh(): Promise<{ first: Profile; fresh: Page; site: Site }> {
  const site = await openSite();
  const first = await launch(await mkdtemp(join(tmpdir(), 'stillhouse-profile-')));
  return { first, fresh: await openPage(first, site.url + SMALL), site };
}

/** A page whose storage has two finished runs with the same bits. */
async function withTwoRuns(): Promise<Page> {
  if (left) return left;
  const { fresh } = await openFresh();
  await run(fresh);
  await run(fresh, FINISHED);
  return fresh;
}

/** A run's folder in the page's private storage; the oldest run is 0. */
const runFolder = (page: Page, index: number) =>
  page.evaluateHandle(async (which) => {
    const root = await navigator.storage.getDirectory();
    const runs = await root.getDirectoryHandle('runs');
    const names: string[] = [];
    for await (const name of runs.keys()) names.push(name);
    const ids = names.filter((name) => !name.endsWith('.json')).sort();
    return runs.getDirectoryHandle(ids[which]);
  }, index);

/** A finished run's step records, and the checksums of its last state. */
const keptRun = async (page: Page, index: number) =>
  (await runFolder(page, index)).evaluate(async (folder, last) => {
    const read = async (name: string) =>
      (await (await folder.getFileHandle(name)).getFile()).text();
    const lines = (await read('metrics.jsonl')).trimEnd().split('\n');
    const [header] = (await read(`checkpoint-${last}.bin`)).split('\n');
    return {
      // All but the time that each took.
      steps: lines
        .filter((line) => line.startsWith('{"type":"step"'))
        .map((line) => JSON.stringify({ ...JSON.parse(line), seconds: 0 })),
      sha256: JSON.parse(header).sha256 as string[],
    };
  }, STEPS);

/** Flips a bit in the middle of a run's newest checkpoint, as a failing disk would. */
const damageNewest = async (page: Page, index: number) =>
  (await runFolder(page, index)).evaluate(async (folder) => {
    let last = -1;
    for await (const name of folder.keys())
      last = Math.max(last, Number(/^checkpoint-(\d+)\.bin$/.exec(name)?.[1] ?? last));
    const newest = `checkpoint-${last}.bin`;
    const file = await folder.getFileHandle(newest);
    const bytes = new Uint8Array(await (await file.getFile()).arrayBuffer());
    bytes[bytes.length >> 1] ^= 1;
    const writable = await file.createWritable();
    await writable.write(bytes);
    await writable.close();
    return newest;
  });

/** Limits what the page may store, in bytes; without a number, no more. */
async function limitStorage(page: Page, quotaSize?: number): Promise<void> {
  const session = await page.context().newCDPSession(page);
  const { origin } = new URL(page.url());
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize });
  if (quotaSize !== undefined) limits.push(session);
}
/** A limit lasts as long as its session. */
const limits: CDPSession[] = [];

test('a killed run goes on with the same bits, past a damaged checkpoint', async () => {
  const { first, fresh: before, site } = await openFresh();
  await run(before);
  const whole = await keptRun(before, 0);
  expect([whole.steps.length, whole.sha256.length]).toEqual([STEPS, 4]);

  await pauseAfter(before, 2 * EVERY + 1);
  await primary(before).click();
  await offered(before, 'Continue');
  const killed = new Promise((resolve) => first.process.once('exit', resolve));
  first.process.kill('SIGKILL');
  await killed;

  const second = await launch(first.folder);
  const page = await openPage(second, site.url + SMALL);
  const offer = page.getByRole('button', { name: /^Continue from step \d+$/ });
  await eventually(() => offer.count(), 'the run is offered').toBe(1);
  const step = Number(/\d+/.exec(await offer.innerText())?.[0]);
  expect(step).toBeGreaterThanOrEqual(2 * EVERY);
  const damaged = await damageNewest(page, 1);
  // The disk is full for a while: the run trains, and is kept once there is room.
  await limitStorage(page, 1);
  // Past the steps before the kill, which it reports again.
  await pauseAfter(page, step + 1);
  await offer.click();
  await offered(page, 'Continue');
  const notice = page.getByRole('alert').filter({ hasText: 'not kept at present' });
  await eventually(() => notice.innerText()).toContain('it is tried again every few seconds');
  await limitStorage(page);
  // Another tab sees the run and leaves it alone.
  const other = await openPage(second, `${site.url}#runs`);
  const open = other
    .getByRole('row')
    .filter({ hasText: `of ${STEPS}` })
    .filter({ hasText: 'Open, ' });
  await eventually(() => open.count(), 'it is open').toBe(1);
  await open.getByRole('button').click();
  expect(await button(other, 'Delete').isDisabled()).toBe(true);
  expect(await other.getByRole('button', { name: /^Continue/ }).count()).toBe(0);
  await other.close();
  await primary(page).click();
  await offered(page, FINISHED);
  await eventually(() => notice.count(), 'it is kept again').toBe(0);
  const log = await logLines(page);
  expect(log.join('\n')).toContain(`${damaged} is damaged: `);
  expect(log.join('\n')).toMatch(/Continued from step \d+\./);
  await eventually(() => keptRun(page, 1)).toEqual(whole);
  // The curve is that of the whole run.
  const evaluated = (await tableOf(page, 'Perplexity')).map(([at]) => at);
  expect(evaluated).toEqual(
    Array.from({ length: STEPS / EVERY + 1 }, (_, i) => (i * EVERY).toLocaleString('en')),
  );
  expect(await offer.count()).toBe(0);
  left = page;
});

/** Drops a file on the page, beside the fields that take models and texts. */
async function drop(page: Page, name: string, contents: ArrayBuffer): Promise<void> {
  await page.evaluate(
    ({ name, base64 }) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], name));
      for (const type of ['dragover', 'drop'])
        document.body.dispatchEvent(
          new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }),
        );
    },
    { name, base64: Buffer.from(contents).toString('base64') },
  );
}

test('the table renames, deletes, brings back, saves and opens a run', async () => {
  const page = await withTwoRuns();
  // What is reset stays in the table, and no longer open.
  await button(page, 'Reset').click();
  await go(page, '#runs');
  const names = () => page.locator('.runs tbody th button').allInnerTexts();
  await eventually(async () => (await names()).length, 'both are listed').toBe(2);
  const [newest, oldest] = await names();
  await page.getByRole('button', { name: newest, exact: true }).click();
  const chosen = page.locator('.chosen-run');
  await chosen.getByLabel('Name').fill('the whole one');
  await chosen.getByLabel('Name').press('Enter');
  await eventually(names).toEqual(['the whole one', oldest]);
  // Shared, it is a link with its settings and its curve.
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await button(page, 'Share this run').click();
  await eventually(() => button(page, 'Link copied').isVisible()).toBe(true);
  const shared = parseLink(
    new URL(await page.evaluate(() => navigator.clipboard.readText())).hash,
  ) as { config: Config; ghost: string };
  expect(parseGhost(shared.ghost, shared.config)).toMatchObject({
    fits: true,
    ghost: { name: 'the whole one', own: false, changed: false },
  });
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    button(page, 'Save as one file').click(),
  ]);
  const path = await file.path();
  expect(file.suggestedFilename()).toBe('the-whole-one.run.zip');
  // The command line reads the same folder.
  const files = await zipFiles('run.zip', new Blob([await readFile(path)]));
  const storage = new MemoryStorage();
  for (const [inside, read] of files) {
    const bytes = new Uint8Array(await (await read()).arrayBuffer());
    await storage.write(inside.replace('the-whole-one/', ''), [bytes]);
  }
  const { facts, snapshot } = await readNewest(storage, '', expect.fail);
  expect([snapshot.step, facts.config.train_steps, facts.places]).toEqual([
    STEPS,
    STEPS,
    undefined,
  ]);

  await button(page, 'Delete').click();
  await eventually(names).toEqual([oldest]);
  await button(page, 'Undo').click();
  await eventually(names).toEqual(['the whole one', oldest]);

  await page.getByLabel('Open a run’s file').setInputFiles(path);
  await eventually(async () => (await names()).length).toBe(3);
  // The file is the run: its records and its state.
  const whole = await keptRun(page, 0);
  await eventually(() => keptRun(page, 2)).toEqual(whole);

  // A run of the command line that was interrupted goes on here.
  const places = { data: [], reading: { format: 'text', columns: [] } };
  await storage.remove(`checkpoint-${STEPS}.bin`);
  const earlier = await readNewest(storage, '', expect.fail);
  expect(earlier.snapshot.step).toBeLessThan(STEPS);
  await writeCheckpoint(storage, '', { ...earlier.facts, places }, earlier.snapshot);
  const zip = await (await packRun(storage, '', 'out', '')).arrayBuffer();
  const damaged = zip.slice(0);
  new Uint8Array(damaged)[zip.byteLength >> 1] ^= 1;
  await drop(page, 'bad.run.zip', damaged);
  const refusals = () => page.locator('.notice.problem').innerText();
  await eventually(refusals).toMatch(/^bad\.run\.zip was not opened\..* is damaged: its CRC-32/);
  await drop(page, 'notes.txt', new ArrayBuffer(3));
  await eventually(refusals).toMatch(/^notes\.txt was not opened\. A run’s file is a \.zip/);
  await drop(page, 'out.run.zip', zip);
  await eventually(async () => (await names()).length).toBe(4);
  await button(page, `Continue from step ${earlier.snapshot.step}`).click();
  await offered(page, FINISHED);
  expect(await keptRun(page, 3)).toEqual(whole);
});

test('a sweep that was stopped goes on after a reload, and runs nothing twice', async () => {
  const [page, kept] = left ? [left, 4] : [(await openFresh()).fresh, 0];
  await follow(page, SMALL);
  const drawer = page.locator('summary', { hasText: /^Sweep/ });
  await drawer.click();
  await page.getByLabel('Setting', { exact: true }).selectOption('seed');
  await page.getByLabel('Values').fill('1, 2');
  await pauseAfter(page, 1, 2);
  await button(page, 'Start 2 runs').click();
  await drawer.click();
  const panel = page.getByLabel('Sweep', { exact: true });
  const says = (text: string | RegExp) =>
    eventually(() => panel.innerText(), `the sweep says ${text}`).toMatch(text);
  await says('run 2 of 2: Seed 2');
  await offered(page, 'Continue');
  await button(page, 'Stop the sweep').click();
  const [first] = await perplexities(page);
  await page.reload();
  await button(page, 'Continue the sweep').click();
  await says('2 of 2 done');
  await says(/perplexity is [\d.]+ ± [\d.]+ over 2 seeds/);
  await eventually(async () => (await perplexities(page))[0]).toBe(first);
  // The ended run is drawn behind the last.
  await eventually(() => page.locator('.behind-runs input:checked').count()).toBe(1);
  await go(page, '#runs');
  const rows = page.locator('.runs-scroll tbody tr');
  await eventually(() => rows.count(), 'those before, and two of the sweep').toBe(kept + 2);
});

/** Of the sweep's runs, as its table has them. */
const perplexities = (on: Page) =>
  on.locator('.sweep-scroll tbody tr td:nth-child(3)').allInnerTexts();

/** Before the worker's script, as a browser that refuses the page its storage. */
const REFUSED = `navigator.storage.getDirectory = () =>
  Promise.reject(new DOMException('Storage is not allowed.', 'SecurityError'));`;

test('where storage is refused, a run trains on, and the page says how long it lasts', async () => {
  const hash = link({ ...TINY, train_steps: 2 });
  const { page } = await visit(await openSite(), { offer: 'f16', path: hash, before: REFUSED });
  await run(page);
  await eventually(() => notices(page)).toContain('This run lasts until the tab is closed.');
  await go(page, '#runs');
  await eventually(() => page.locator('.runs tbody th').count()).toBe(1);
  expect(await page.locator('.keeping').innerText()).toContain('has no private storage');
});
