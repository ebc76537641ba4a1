// What keeping runs costs the page, in Chromium (CHROMIUM names it), over the built page at the given address:
// the share of a run's time in which its worker does not train for it, for the default settings and
// for a student of 10 M parameters; and how long the table of 500 runs takes.
//
//   npm run build && python3 -m http.server -d dist 8080 &
//   node tests/bench/keeping.mjs http://127.0.0.1:8080/

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const RUNS = 500;
const SETTINGS = {
  'default settings': '#v=1',
  '10 M parameters':
    '#v=1&student_layers=6&student_width=384&student_heads=6&batch_size=2&max_length=64' +
    '&train_steps=60&eval_steps=20',
};
const FLAGS = ['--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];

const [url] = process.argv.slice(2);
const executablePath = process.env.CHROMIUM;
// A profile on disk: a private window's storage is in the memory of another process.
const profile = await mkdtemp(join(tmpdir(), 'stillhouse-keeping-'));
const browser = await chromium.launchPersistentContext(profile, { executablePath, args: FLAGS });

/** In the page: made-up runs, without their index. */
async function makeRuns(count) {
  const root = await navigator.storage.getDirectory();
  const runs = await root.getDirectoryHandle('runs', { create: true });
  const write = async (folder, name, text) => {
    const file = await (await folder.getFileHandle(name, { create: true })).createWritable();
    await file.write(text);
    await file.close();
  };
  for (let i = 0; i < count; i++) {
    const time = new Date(Date.UTC(2026, 10, 1) + i * 60_000).toISOString();
    const id = `${time.slice(0, 19).replace(/[-:]/g, '').replace('T', '-')}-made0${i % 10}`;
    const folder = await runs.getDirectoryHandle(id, { create: true });
    const adapter = { name: 'made up' };
    const settings = { type: 'config', version: 2, id, time, config: {}, adapter };
    const lines = [settings];
    for (let step = 1; step <= 100; step++) lines.push({ type: 'step', step, loss: 4 - step / 99 });
    lines.push({ type: 'evaluation', step: 100, studentPerplexity: 100 + ((i * 37) % 97), kl: 1 });
    await write(folder, 'metrics.jsonl', lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
}

const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const page = await browser.newPage();
await page.goto(url);
await page.evaluate(makeRuns, RUNS);
// The first visit makes the index.
await page.goto(`${url}?index#runs`);
await page.locator('.runs tbody tr').first().waitFor();
/** From the click to the rows on the screen. */
const toRows = async (act, rows) =>
  page.evaluate(
    async ([selector, count]) => {
      const started = performance.now();
      if (selector.startsWith('#')) location.hash = selector;
      else
        [...document.querySelectorAll('.runs button')]
          .find(({ textContent }) => textContent.startsWith(selector))
          .click();
      while (document.querySelectorAll('.runs tbody tr').length < count)
        await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      return performance.now() - started;
    },
    [act, rows],
  );
// The main thread's own time too, which other processes do not lengthen.
const session = await page.context().newCDPSession(page);
await session.send('Performance.enable', { timeDomain: 'threadTicks' });
const busy = async () => {
  const { metrics } = await session.send('Performance.getMetrics');
  return 1000 * metrics.find(({ name }) => name === 'TaskDuration').value;
};
for (const [what, act, count] of [
  ['the table opens', '#runs', 50],
  ['it shows them all', 'Show all', RUNS],
]) {
  const walls = [];
  const own = [];
  for (let i = 0; i < 5; i++) {
    await page.goto(`${url}?${act.length}${i}`);
    await page.waitForTimeout(4000);
    if (count === RUNS) await toRows('#runs', 50);
    const before = await busy();
    walls.push(await toRows(act, count));
    own.push((await busy()) - before);
  }
  console.log(
    `${RUNS} runs: ${what} in ${median(walls).toFixed(0)} ms, of which the main thread works ` +
      `${median(own).toFixed(0)} ms`,
  );
}
// A visit that begins at the table, where the worker must start first.
const first = [];
for (let i = 0; i < 3; i++) {
  await page.goto(`${url}?first${i}#runs`);
  await page.locator('.runs tbody tr').first().waitFor();
  first.push(await page.evaluate(() => performance.now()));
}
console.log(`a visit that begins at #runs shows them after ${median(first).toFixed(0)} ms`);
await page.close();

/**
 * In the worker: sums the time that it stands still in a call by which a run is stored, and the time
 * until such calls are answered, while it trains on.
 */
function watchStorage() {
  const stored = { still: [], answered: 0, bytes: 0 };
  globalThis.stored = stored;
  const watch = (prototype, names) => {
    for (const name of names) {
      const call = prototype[name];
      prototype[name] = function (...args) {
        if (name === 'write') stored.bytes += args[0].byteLength;
        const started = performance.now();
        const result = call.apply(this, args);
        const returned = performance.now();
        stored.still.push([started, returned]);
        const done = () => {
          stored.answered += performance.now() - returned;
        };
        if (typeof result?.then === 'function') result.then(done, done);
        return result;
      };
    }
  };
  watch(FileSystemSyncAccessHandle.prototype, ['write', 'flush', 'truncate', 'close', 'getSize']);
  watch(FileSystemFileHandle.prototype, ['createSyncAccessHandle', 'move', 'getFile']);
  watch(FileSystemDirectoryHandle.prototype, [
    'getFileHandle',
    'getDirectoryHandle',
    'removeEntry',
  ]);
  watch(SubtleCrypto.prototype, ['digest']);
}

for (const [name, link] of Object.entries(SETTINGS)) {
  const visit = await browser.newPage();
  await visit.goto(url + link);
  const worker = visit.workers()[0] ?? (await visit.waitForEvent('worker'));
  await worker.evaluate(watchStorage);
  const primary = visit.locator('button.primary').first();
  await primary.click();
  await visit.getByText(/^Your run, finished in/).waitFor({ timeout: 3_600_000 });
  const stored = await worker.evaluate(() => globalThis.stored);
  // At the end, and at each pause, it waits until all is kept.
  const waits = await worker.evaluate(() =>
    performance
      .getEntriesByName('wait until the run is kept')
      .map(({ startTime, duration }) => [startTime, startTime + duration]),
  );
  const during = stored.still.filter(([at]) => !waits.some(([from, to]) => at >= from && at < to));
  const [still, waited] = [during, waits].map((spans) =>
    spans.reduce((sum, [from, to]) => sum + (to - from) / 1000, 0),
  );
  const seconds = await visit.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const runs = await root.getDirectoryHandle('runs');
    const ids = [];
    for await (const [id, { kind }] of runs.entries()) if (kind === 'directory') ids.push(id);
    const newest = await runs.getDirectoryHandle(ids.sort().at(-1));
    const text = await (await (await newest.getFileHandle('metrics.jsonl')).getFile()).text();
    const timings = text.split('\n').filter((line) => line.startsWith('{"type":"timing"'));
    return JSON.parse(timings.at(-1)).seconds;
  });
  console.log(
    `${name}: trained ${seconds.toFixed(1)} s, stored ${(stored.bytes / 1e6).toFixed(1)} MB; ` +
      `stood still ${still.toFixed(2)} s, waited at the end ${waited.toFixed(2)} s: ` +
      `${((100 * (still + waited)) / seconds).toFixed(2)}%; calls answered meanwhile after ` +
      `${(stored.answered / 1000).toFixed(2)} s`,
  );
  await visit.close();
}

await browser.close();
await rm(profile, { recursive: true, force: true, maxRetries: 5 });
