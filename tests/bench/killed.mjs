// Kills runs at random moments, for real: the command line's process, and a browser with all of its
// processes and a profile on disk. After each kill the run goes on from what it kept. Says how many
// steps each kill cost, and stops at the first run that is not what it must be: a finished run that
// changed, records that are damaged, or other bits than those of a run that nobody killed.
//
//   node tests/bench/killed.mjs node
//   npm run build && CHROMIUM=… node tests/bench/killed.mjs browser
//
// KILLS says how many, 50 by default. Each SEED draws moments of its own, so that a measurement that
// had no time for all kills can be completed by another.

import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { chromium } from 'playwright-core';

const KILLS = Number(process.env.KILLS ?? 50);
const [STEPS, EVERY] = [240, 20];
const SETTINGS = {
  batch_size: 2,
  max_length: 16,
  student_layers: 1,
  student_width: 16,
  sample_tokens: 0,
  eval_batches: 1,
  eval_steps: EVERY,
  train_steps: STEPS,
};
const FLAGS = [
  ...['--no-sandbox', '--headless', '--no-first-run', '--remote-debugging-port=0'],
  ...['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
];
/** The built page's folder. */
const DIST = process.env.DIST ?? 'dist';
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

const folder = mkdtempSync(join(tmpdir(), 'stillhouse-kills-'));
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** The same moments in every measurement with this seed, as parts of a run. */
let seed = Number(process.env.SEED ?? 1);
const random = () => {
  seed = (seed * 48271) % 2147483647;
  return seed / 2147483647;
};

/** What a run's files say. `checkpoints` has each one's first line. */
function summaryOf({ journal, checkpoints }) {
  const lines = journal.split('\n').slice(0, -1);
  const records = lines.map((line) => JSON.parse(line));
  const of = (type) => records.filter((record) => record.type === type);
  const steps = of('step').map((record) => ({ ...record, seconds: 0 }));
  const [last] = checkpoints.map((line) => JSON.parse(line)).sort((a, b) => b.step - a.step);
  return {
    steps,
    step: steps.at(-1)?.step ?? 0,
    evaluated: of('evaluation').at(-1)?.step ?? 0,
    evaluations: of('evaluation').map((record) => ({ ...record, milliseconds: 0 })),
    saved: last?.step ?? 0,
    sha256: last?.sha256,
  };
}

/** The command line, with one folder a run. */
async function inNode() {
  const program = 'node_modules/.cache/stillhouse/distill/distill.js';
  execFileSync(process.execPath, ['src/cli/run.mjs', 'distill', '--help']);
  const flags = Object.entries(SETTINGS).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  let runs = 0;
  let child;
  const current = () => join(folder, `${runs}`);
  const read = (run) => {
    const path = join(folder, `${run}`);
    const text = (name) => readFileSync(join(path, name), 'latin1');
    if (!existsSync(join(path, 'metrics.jsonl'))) return { journal: '', checkpoints: [] };
    const names = readdirSync(path).filter((name) => /^checkpoint-\d+\.bin$/.test(name));
    return {
      journal: readFileSync(join(path, 'metrics.jsonl'), 'utf8'),
      checkpoints: names.map((name) => text(name).split('\n')[0]),
    };
  };
  return {
    /** Starts a run, or goes on. Resolves when it trains; `done` when it has ended. */
    async begin() {
      const goesOn = read(runs).checkpoints.length > 0;
      const how = goesOn ? ['--resume', '--output_dir', current()] : ['--output_dir', current()];
      child = spawn(process.execPath, [program, ...how, ...flags]);
      let said = '';
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await new Promise((resolve) => {
        child.once('exit', resolve);
        for (const stream of [child.stdout, child.stderr])
          stream.on('data', (data) => {
            said += data;
            if (said.includes('parameters learn from')) resolve();
          });
      });
      ok(!said.includes('damaged'), said);
      const done = ended.then((code) => ok(code === 0 || code === null, said));
      return { done };
    },
    async kill() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null)
        await new Promise((resolve) => child.once('exit', resolve));
    },
    async next() {
      runs += 1;
    },
    /** All runs, the oldest first. */
    async read() {
      return Array.from({ length: runs + 1 }, (_, run) => read(run));
    },
  };
}

/** The built page, with all runs in one profile. */
async function inBrowser() {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://x').pathname);
    const file = join(DIST, path.endsWith('/') ? `${path}index.html` : path);
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    if (!existsSync(file)) return response.writeHead(404).end();
    const bytes = readFileSync(file);
    response.writeHead(200, { 'content-type': type, 'content-length': bytes.length }).end(bytes);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const hash = Object.entries(SETTINGS).map(([name, value]) => `${name}=${value}`);
  const url = `http://127.0.0.1:${server.address().port}/#v=1&${hash.join('&')}`;
  let child;
  let page;
  async function open() {
    // A process group of its own, so that nothing of it outlives the kill.
    child = spawn(process.env.CHROMIUM, [...FLAGS, `--user-data-dir=${folder}`], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const address = await new Promise((resolve) => {
      let said = '';
      child.stderr.on('data', (data) => {
        said += data;
        const [, found] = /DevTools listening on (ws:\S+)/.exec(said) ?? [];
        if (found) resolve(found);
      });
    });
    const browser = await chromium.connectOverCDP(address);
    page = await browser.contexts()[0].newPage();
    await page.goto(url);
  }
  await open();
  const read = () =>
    page.evaluate(async () => {
      const root = await navigator.storage.getDirectory();
      const runs = await root.getDirectoryHandle('runs', { create: true });
      const found = [];
      for await (const [id, run] of runs.entries()) {
        if (run.kind !== 'directory') continue;
        const one = { id, journal: '', checkpoints: [] };
        for await (const [name, file] of run.entries()) {
          if (name === 'metrics.jsonl') one.journal = await (await file.getFile()).text();
          if (!/^checkpoint-\d+\.bin$/.test(name)) continue;
          const start = (await file.getFile()).slice(0, 2 ** 16);
          one.checkpoints.push((await start.text()).split('\n')[0]);
        }
        found.push(one);
      }
      return found.sort((a, b) => a.id.localeCompare(b.id));
    });
  let next = true;
  return {
    async begin() {
      const goesOn = page.getByRole('button', { name: /^Continue from step \d+$/ });
      if (next) await page.locator('button.primary').click();
      else await goesOn.click();
      next = false;
      await page.waitForFunction(
        () => /^Step [1-9]/.test(document.querySelector('.progress-text')?.textContent ?? ''),
        undefined,
        { timeout: 300_000 },
      );
      const finished = page.getByText(/^Your run, finished in/);
      // A browser that is killed takes the page along.
      return { done: finished.waitFor({ timeout: 600_000 }).catch(() => undefined) };
    },
    async kill() {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      process.kill(-child.pid, 'SIGKILL');
      await gone;
      await open();
      const runs = await read();
      // Killed before its first checkpoint, it begins again as another run.
      next = (runs.at(-1)?.checkpoints.length ?? 0) === 0;
    },
    async next() {
      next = true;
      await page.reload();
    },
    read,
    async end() {
      process.kill(-child.pid, 'SIGKILL');
      server.close();
    },
  };
}

const where = process.argv[2] === 'browser' ? inBrowser : inNode;
const place = await where();
try {
  // The first run is left alone. How long it trains says where the others are killed.
  const { done } = await place.begin();
  const started = performance.now();
  await done;
  const duration = performance.now() - started;
  const whole = summaryOf((await place.read()).at(-1));
  console.log(`a run trains ${(duration / 1000).toFixed(1)} s`);
  equal(whole.saved, STEPS);
  await place.next();

  const lost = [];
  const inWriting = [];
  let completed = 1;
  let afresh = 0;
  while (lost.length < KILLS) {
    const before = (await place.read()).filter((run) => summaryOf(run).saved === STEPS);
    const { done } = await place.begin();
    const moment = random() * duration;
    const isDone = await Promise.race([done.then(() => true), wait(moment).then(() => false)]);
    if (!isDone) await place.kill();
    const all = await place.read();
    for (const [i, run] of before.entries())
      deepStrictEqual(
        all.find(({ id, journal }) => (id === undefined ? journal === run.journal : id === run.id)),
        run,
        `finished run ${i} has changed`,
      );
    const now = summaryOf(all.at(-1));
    deepStrictEqual(now.steps, whole.steps.slice(0, now.steps.length), 'other bits');
    if (now.saved === STEPS) {
      deepStrictEqual([now.sha256, now.evaluations], [whole.sha256, whole.evaluations]);
      completed += 1;
      await place.next();
    }
    if (isDone) continue;
    // The checkpoint of the last evaluation may have been on its way.
    ok(now.saved >= now.evaluated - EVERY, `saved ${now.saved}, evaluated ${now.evaluated}`);
    if (now.saved < now.evaluated) inWriting.push(now.evaluated);
    if (now.saved === 0) afresh += 1;
    lost.push(now.step - now.saved);
    console.log(`kill ${lost.length}: at step ${now.step}, goes on from ${now.saved}`);
  }
  const sorted = lost.sort((a, b) => a - b);
  console.log(
    `${KILLS} kills: steps lost at most ${sorted.at(-1)}, median ${sorted[KILLS >> 1]}, with an ` +
      `evaluation every ${EVERY}; ${inWriting.length} kills while a checkpoint was written, ` +
      `${afresh} before the first; ${completed} runs finished, all with the same bits`,
  );
} finally {
  await place.end?.();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
