// `npm run endure -- --only node,page,runs,ends,monkey --steps N --runs N --minutes N --seed S`: a
// long run in Node and on the page, runs started and dropped in one tab, short runs to their end,
// and a monkey; prints a table, and exits with 1 if anything grows or goes wrong. `--short` does a
// little of each: caches still fill in that time, and only GPU buffers may not grow.
//
// The page's parts need a built page (npm run build) and CHROMIUM, a Chromium; VK_ICD_FILENAMES
// names Dawn's adapter in Node.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Browser, chromium } from 'playwright-core';
import { awaited, watchWorker } from '../e2e/awaited';
import { serveSite } from '../e2e/site';
import { CONTROL, serveControl } from './control';
import { growths, judge } from './measure';
import { trainInNode } from './node';
import { dropRuns, endRuns, monkey, tinyLink, trainOnPage } from './page';

/** Steps between two samples, with an evaluation at each. */
const EVERY = 250;
/** Chromium starts a service of its own, of some 26 MB, after three minutes. */
const BROWSER_STARTS = 240_000;
const PARTS = ['node', 'page', 'runs', 'ends', 'monkey'] as const;
const flags = new Map<string, string>();
for (const [i, word] of process.argv.entries())
  if (word.startsWith('--')) flags.set(word.slice(2), process.argv[i + 1] ?? '');
const short = flags.has('short');
const number = (name: string, long: number, brief: number) =>
  Number(flags.get(name) ?? (short ? brief : long));
const steps = number('steps', 20_000, 1500);
const runs = number('runs', 200, 10);
const minutes = number('minutes', 60, 0.5);
const seed = number('seed', 1, 1);
const settings = flags.get('settings') ?? 'teacher_model=sorting-teacher&loss=mixed';
const only = flags.get('only')?.split(',') ?? PARTS;

const failures: string[] = [];
const rows: string[] = [];
const tell = (part: ReturnType<typeof judge>) => {
  for (const row of part.rows) console.log(row);
  rows.push(...part.rows);
  failures.push(...part.failures);
};
const judges = (name: string) => (short ? name === 'GPU buffers' : true);
console.log('| what | figure | at first | at last | growth |');
console.log('| --- | --- | ---: | ---: | ---: |');

if (only.includes('node')) {
  const pairs = settings.split('&').map((pair) => pair.split('='));
  const samples = await trainInNode(steps, EVERY, Object.fromEntries(pairs));
  tell(judge(`${steps} steps in Node`, samples, { judges }));
}

if (only.some((part) => part !== 'node')) {
  const folder = flags.get('dist') ?? 'dist';
  const site = await serveSite({ folder });
  await watchWorker(site, folder);
  // Otherwise Chromium keeps copies of all that the service worker fetches, in the page's process.
  process.env.PLAYWRIGHT_DISABLE_SERVICE_WORKER_NETWORK = '1';
  // On disk, as a visitor's: a private window's files lie in the memory of the browser.
  const profile = await mkdtemp(join(tmpdir(), 'stillhouse-endure-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM,
    viewport: { width: 1440, height: 900 },
    args: [
      '--enable-unsafe-webgpu',
      ...(process.env.ADAPTER === 'gpu' ? [] : ['--use-webgpu-adapter=swiftshader']),
      // What the browser fetches and tries for itself grows too.
      ...['--no-sandbox', '--disable-background-networking', '--disable-component-update'],
      '--js-flags=--expose-gc',
    ],
  });
  const browser = context.browser() as Browser;
  const opened = performance.now();
  context.on('console', (message) => {
    const text = message.text();
    // This machine may be offline; the hub's models are refused by name.
    if (message.type() !== 'error' || text.includes('net::ERR_')) return;
    failures.push(`console: ${text} (${message.location().url})`);
  });
  context.on('weberror', (error) => {
    failures.push(`uncaught: ${error.error().stack ?? error.error()}`);
  });
  const open = async (path: string) => {
    const page = await context.newPage();
    await page.goto(site.url + path);
    return page;
  };
  if (only.includes('page')) {
    const page = await open(tinyLink(`${settings}&train_steps=${steps}&eval_steps=${EVERY}`));
    const samples = await trainOnPage(page, { steps, every: EVERY, browser });
    tell(judge(`${steps} steps in Chromium`, samples, { judges }));
    await page.close();
  }
  if (only.includes('runs')) {
    const dropping = { runs, seed, every: Math.ceil(runs / 20), browser };
    const judging = {
      settled: runs / 2,
      unit: 100,
      // Of a page's process, only what is in use counts.
      judges: (name: string) => judges(name) && name !== 'page and worker',
    };
    if (!short) await setTimeout(Math.max(0, opened + BROWSER_STARTS - performance.now()));
    // First the browser's own growth, by a page that computes nothing.
    serveControl(site);
    const control = await open(CONTROL);
    const empty = await dropRuns(control, dropping);
    await control.close();
    for (const row of judge(`${runs} runs of nothing dropped`, empty, judging).rows)
      console.log(row);
    // What a tab asks of its browser the browser remembers; all else is the page's.
    const { browser: own } = growths(empty, judging);
    const page = await open(tinyLink('train_steps=5000&eval_steps=100'));
    const dropped = await dropRuns(page, dropping);
    tell(judge(`${runs} runs dropped`, dropped, { ...judging, beside: { browser: own } }));
    await page.close();
  }
  if (only.includes('ends')) {
    const page = await open(tinyLink('train_steps=4&eval_steps=2'));
    const end = performance.now() + 60_000 * minutes;
    try {
      const done = await endRuns(page, () => performance.now() > end);
      console.log(`\n${done} runs of 4 steps came to their end in ${minutes} min`);
    } catch (error) {
      failures.push(`${(error as Error).message}\n${await awaited(page)}`);
    }
    await page.close();
  }
  if (only.includes('monkey')) {
    const page = await open('');
    const end = performance.now() + 60_000 * minutes;
    const before = failures.length;
    const done = await monkey(page, { seed, until: () => performance.now() > end });
    const all = Object.values(done).reduce((sum, count) => sum + count, 0);
    const each = Object.entries(done).map(([what, count]) => `${what} ${count}`);
    console.log(
      `\nmonkey, seed ${seed}, ${minutes} min: ${all} actions (${each.join(', ')}), ` +
        `${failures.length - before} errors`,
    );
    await page.close();
  }
  await context.close();
  await rm(profile, { recursive: true, force: true });
  await site.close();
}
for (const failure of failures.slice(0, 40)) console.error(`\n${failure}`);
process.exit(failures.length > 0 ? 1 : 0);
