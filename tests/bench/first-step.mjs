// From the press of Distil to the first step, and to the end: what the page opens with, in a fresh
// visit to the built page, and the same run in Node. For each thing that the worker tells it prints
// the seconds since the press, and the processor seconds of the page's process (which holds the
// worker) and of the GPU's. Other work on the machine lengthens the former, and hardly the latter.
//
//   npm run build
//   CHROMIUM=… VK_ICD_FILENAMES=… node tests/bench/first-step.mjs [--visits 3] [--whole]
//
// CHROMIUM must use the adapter that VK_ICD_FILENAMES names for Node. The visit with the middle
// time to the first step is printed. --whole: to the end, in turns with `npm run distill`. --reading:
// seconds between the page's arrival and the press, 10 by default; meanwhile the page prepares the
// run. --dist: another build's folder. Settings may follow as in a link, for example
// teacher_model=moby-teacher; without any it is the page's own first run.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { preview } from 'vite';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    visits: { type: 'string', default: '3' },
    reading: { type: 'string', default: '10' },
    dist: { type: 'string', default: 'dist' },
    whole: { type: 'boolean', default: false },
  },
});
const FLAGS = [
  ...['--no-sandbox', '--no-first-run', '--disable-background-networking'],
  ...['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'],
];
/** Milliseconds between two looks at the processes. */
const LOOK_EVERY = 40;
const LAST = values.whole ? 'the end' : 'the first step';

/** In the page: notes when the worker first tells of each thing. */
function watchWorker() {
  const seen = new Map();
  globalThis.seen = seen;
  globalThis.note = (name) => {
    if (!seen.has(name)) seen.set(name, performance.timeOrigin + performance.now());
  };
  const told = ({ type, stage, detail, record, records, status }) =>
    ({
      loading: `${stage}: ${detail}`,
      evaluation: `the evaluation of step ${record?.step}`,
      steps: records?.length > 0 && 'the first step',
      ready: 'the run is built',
      status: status?.state === 'finished' && 'the end',
    })[type];
  globalThis.Worker = class extends Worker {
    constructor(...rest) {
      super(...rest);
      this.addEventListener('message', ({ data }) => {
        const name = told(data);
        if (name) globalThis.note(name);
      });
    }
    postMessage(message, ...rest) {
      if (message.type === 'start') globalThis.started = message.config;
      super.postMessage(message, ...rest);
    }
  };
}

/** Rows of what was told, from the press on, and the settings that were started. */
async function visit(url) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
  const processes = await browser.newBrowserCDPSession();
  const looks = [];
  const look = async () => {
    const { processInfo } = await processes.send('SystemInfo.getProcessInfo');
    const sum = (type) =>
      processInfo.reduce((sum, one) => sum + (one.type === type ? one.cpuTime : 0), 0);
    looks.push({ time: Date.now(), page: sum('renderer'), gpu: sum('GPU') });
  };
  const timer = setInterval(() => look().catch(() => undefined), LOOK_EVERY);
  try {
    const page = await (await browser.newContext()).newPage();
    await page.addInitScript(watchWorker);
    await page.goto(positionals.length > 0 ? `${url}#v=1&${positionals.join('&')}` : url);
    const button = page.locator('button.primary').first();
    await button.waitFor();
    await wait(1000 * Number(values.reading));
    await look();
    await page.evaluate(() => {
      const button = document.querySelector('button.primary');
      button.addEventListener('click', () => globalThis.note('press'), { capture: true });
    });
    await button.click();
    await page.waitForFunction((last) => globalThis.seen.has(last), LAST, {
      timeout: 900_000,
      polling: 200,
    });
    await look();
    const seen = await page.evaluate(() => [...globalThis.seen]);
    const begin = seen.findIndex(([name]) => name === 'press');
    const at = (time) => looks.findLast((one) => one.time <= time) ?? looks[0];
    const press = at(seen[begin][1]);
    const rows = seen.slice(begin).map(([name, time]) => ({
      name,
      seconds: (time - seen[begin][1]) / 1000,
      page: at(time).page - press.page,
      gpu: at(time).gpu - press.gpu,
    }));
    return { rows, config: await page.evaluate(() => globalThis.started) };
  } catch (error) {
    const said = await browser.contexts()[0]?.pages()[0]?.locator('.notice').allInnerTexts();
    throw new Error(`${error.message}\n${said?.join('\n')}`);
  } finally {
    clearInterval(timer);
    await browser.close();
  }
}

/** Seconds from the command to the exported student. */
function inNode(config) {
  const folder = mkdtempSync(join(tmpdir(), 'stillhouse-first-step-'));
  const set = Object.entries(config).filter(([, value]) => value !== '');
  const flags = set.flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const command = ['src/cli/run.mjs', 'distill', '--output_dir', folder, ...flags];
  const started = performance.now();
  try {
    execFileSync(process.execPath, command, { stdio: ['ignore', 'ignore', 'inherit'] });
    return (performance.now() - started) / 1000;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const middle = (list, of = (one) => one) =>
  list.toSorted((a, b) => of(a) - of(b))[list.length >> 1];
const until = (name) => (rows) => rows.find((row) => row.name === name).seconds;

const server = await preview({
  logLevel: 'warn',
  build: { outDir: values.dist },
  preview: { host: '127.0.0.1', port: 0 },
});
const [url] = server.resolvedUrls.local;
try {
  const runs = [];
  for (let i = 1; i <= Number(values.visits); i++) {
    const run = await visit(url);
    if (values.whole) run.node = inNode(run.config);
    runs.push(run);
    const ends = values.whole
      ? `, the end after ${until(LAST)(run.rows).toFixed(1)} s; Node then took ` +
        `${run.node.toFixed(1)} s: ${(until(LAST)(run.rows) / run.node).toFixed(2)} times that`
      : '';
    console.log(
      `visit ${i}: first step after ${until('the first step')(run.rows).toFixed(2)} s${ends}`,
    );
  }
  const { rows } = middle(runs, (run) => until('the first step')(run.rows));
  console.log('\n| since the press | s | page, CPU s | GPU, CPU s |\n| --- | ---: | ---: | ---: |');
  for (const { name, seconds, page, gpu } of rows)
    console.log(`| ${[name, ...[seconds, page, gpu].map((one) => one.toFixed(2))].join(' | ')} |`);
  if (values.whole) {
    const ratio = middle(runs.map(({ rows, node }) => until(LAST)(rows) / node));
    console.log(`\npage over Node, the middle one: ${ratio.toFixed(2)}`);
  }
} finally {
  await server.close();
}
