// The ground that e2e tests stand on: what goes wrong on a page or in its worker is heard, nothing
// leaves the page's origin, and the site's files misbehave as told.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from './drive';
import { openSite, type Site, visit } from './harness';

const FILES = {
  'index.html': '<!doctype html><link rel="icon" href="data:,"><title>Fixture</title>',
  'loud.js':
    "console.error('worker says no'); setTimeout(() => { throw new Error('worker fell'); });",
  'asks.js': "fetch('https://example.org/telemetry').catch(() => postMessage('refused'));",
  'models/data.bin': 'x'.repeat(1000),
};
let folder: string;
let site: Site;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'stillhouse-'));
  await mkdir(join(folder, 'models'));
  for (const [path, text] of Object.entries(FILES)) await writeFile(join(folder, path), text);
  site = await openSite({ folder, base: '/some/where/' });
});
afterAll(() => rm(folder, { recursive: true }));

const startWorker = (file: string) =>
  `new Worker(new URL('${file}', document.baseURI), { type: 'module' })`;

test('a quiet page has no problems', async () => {
  const { problems, close } = await visit(site);
  expect(problems).toEqual([]);
  await close();
});

test('errors of the page, of its worker and of its requests are heard', async () => {
  const { page, problems, close } = await visit(site);
  await page.evaluate(
    "console.error('page says no'); setTimeout(() => { throw new Error('page fell'); });",
  );
  await page.evaluate("fetch('nowhere.json')");
  await page.evaluate(startWorker('loud.js'));
  for (const heard of [
    'page says no',
    'page fell',
    'nowhere.json: 404',
    'worker says no',
    'worker fell',
  ]) {
    await eventually(() => problems.join('\n')).toContain(heard);
  }
  await close();
});

test('a request to another origin is refused and fails the visit', async () => {
  const fromPage = await visit(site);
  await fromPage.page.evaluate("fetch('https://example.org/page').catch(() => 'refused')");
  await expect(fromPage.close()).rejects.toThrow('https://example.org/page');

  const fromWorker = await visit(site);
  const answer = await fromWorker.page.evaluate(
    `new Promise((resolve) => {
      ${startWorker('asks.js')}.onmessage = (event) => resolve(event.data);
    })`,
  );
  expect(answer).toBe('refused');
  await expect(fromWorker.close()).rejects.toThrow('https://example.org/telemetry');
});

test('files are cut, short, halting, missing or HTML as told', async () => {
  const path = 'models/data.bin';
  const get = () => fetch(site.url + path);
  expect(await (await get()).text()).toHaveLength(1000);

  site.faults.set(path, { kind: 'cut', bytes: 300 });
  const cut = await get();
  expect(cut.headers.get('content-length')).toBe('1000');
  await expect(cut.text()).rejects.toThrow();

  site.faults.set(path, { kind: 'short', bytes: 300 });
  expect(await (await get()).text()).toHaveLength(300);

  let goOn = () => {};
  const until = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  site.faults.set(path, { kind: 'halting', until });
  const reader = (await get()).body?.getReader();
  expect((await reader?.read())?.value).toHaveLength(500);
  const rest = reader?.read();
  expect(await Promise.race([rest, 'not yet'])).toBe('not yet');
  goOn();
  expect((await rest)?.value).toHaveLength(500);

  site.faults.set(path, { kind: 'missing' });
  expect((await get()).status).toBe(404);

  site.faults.set(path, { kind: 'html' });
  expect((await get()).headers.get('content-type')).toContain('text/html');
  site.faults.clear();
});

test('what is not in the folder is a 404', async () => {
  const { origin } = new URL(site.url);
  expect((await fetch(`${site.url}no/such/page`)).status).toBe(404);
  expect((await fetch(`${origin}/index.html`)).status).toBe(404);
  expect((await fetch(`${site.url}..%2F..%2Fetc%2Fpasswd`)).status).toBe(404);
});
