// What endures on the page: a long run with its charts, runs that are started and dropped, and a
// monkey. All of it by a page that is open; whoever opens it hears its problems.

import { readFile } from 'node:fs/promises';
import type { Browser, Page } from 'playwright-core';
import { Random } from '../../src/tensor/random';
import type { Sample } from './measure';

const TINY =
  '#v=1&batch_size=1&max_length=16&student_layers=1&student_width=16&eval_batches=1' +
  '&sample_tokens=4';
export const tinyLink = (settings: string) => `${TINY}&${settings}`;

const PATIENCE = 300_000;
const primary = (page: Page) => page.locator('button.primary');

/** The GPU memory that the page shows while there is a run, in bytes. */
async function gpuBuffers(page: Page): Promise<number> {
  const shown = page.locator('.status-item', { hasText: 'GPU memory' }).locator('summary');
  const [, number, unit] = /([\d.,]+)\s*([kMG]?)B/.exec(await shown.innerText()) ?? [];
  const factor = { '': 1, k: 1e3, M: 1e6, G: 1e9 }[unit as 'k'] ?? Number.NaN;
  return Number(number.replace(',', '')) * factor;
}

/**
 * What the page and its browser hold, in bytes: of each kind of process the memory of its own. The
 * program's code, whose pages the system drops and reads again as it likes, does not count.
 */
async function holds(page: Page, browser?: Browser): Promise<Record<string, number>> {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  for (const worker of page.workers())
    await worker.evaluate(() => (globalThis as { gc?(): void }).gc?.());
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  await session.detach();
  const figures = { 'JS heap': usedSize };
  if (!browser) return figures;
  const memory: Record<string, number> = {};
  for (const { id } of await processesOf(browser)) {
    const status = await readFile(`/proc/${id}/status`, 'utf8').catch(() => '');
    const bytes = (name: string) =>
      1024 * Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
    const command = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '');
    const kind = PROCESSES.find(([flag]) => command.includes(flag))?.[1] ?? 'browser';
    memory[kind] = (memory[kind] ?? 0) + bytes('RssAnon') + bytes('RssShmem');
  }
  return { ...figures, ...memory };
}

/**
 * Chromium keeps copies of what a page and its workers fetch, hundreds of MB, while somebody
 * listens to their network. Playwright always does, and has no setting for it: this reaches inside.
 */
async function keepNoNetworkLog(page: Page): Promise<void> {
  interface Session {
    send(method: string): Promise<unknown>;
  }
  const { _connection } = page as unknown as {
    _connection: {
      toImpl(page: Page): { delegate: { _networkManager: { _sessions: Map<Session, unknown> } } };
    };
  };
  const { _sessions } = _connection.toImpl(page).delegate._networkManager;
  for (const session of _sessions.keys()) await session.send('Network.disable');
}

/** What a renderer's allocators have given out, in the names of Chromium's own account. */
const GIVEN_OUT =
  /^(v8|(malloc|partition_alloc|blink_gc\/main|blink_gc\/workers\/\w+)\/allocated_objects)$/;

/** One process's part of that account. */
interface MemoryDump {
  ph: string;
  pid: number;
  args: { dumps: { allocators?: Record<string, { attrs?: { size?: { value: string } } }> } };
}

/**
 * Bytes in use by pages and their workers. Their processes hold more: allocators give back what was
 * freed when they like, which goes up and down by tens of MB.
 */
async function inUse(browser: Browser): Promise<number> {
  const processes = await processesOf(browser);
  const pages = processes.filter(({ type }) => type === 'renderer').map(({ id }) => id);
  const session = await browser.newBrowserCDPSession();
  let bytes = 0;
  session.on('Tracing.dataCollected', ({ value }) => {
    for (const { ph, pid, args } of value as unknown as MemoryDump[]) {
      // Other events have no dump.
      if (ph !== 'v' || !pages.includes(pid)) continue;
      for (const [name, { attrs }] of Object.entries(args.dumps.allocators ?? {}))
        if (GIVEN_OUT.test(name)) bytes += Number.parseInt(attrs?.size?.value ?? '0', 16);
    }
  });
  const ended = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  const includedCategories = ['disabled-by-default-memory-infra'];
  await session.send('Tracing.start', {
    traceConfig: { includedCategories, excludedCategories: ['*'], memoryDumpConfig: {} },
  });
  await session.send('Tracing.requestMemoryDump', { deterministic: true });
  await session.send('Tracing.end');
  await ended;
  await session.detach();
  if (bytes === 0) throw new Error('Chromium’s account of its memory names other allocators now.');
  return bytes;
}

/** What all of its processes have computed so far: other work of the machine does not count. */
async function secondsOfCpu(browser: Browser): Promise<number> {
  const processes = await processesOf(browser);
  return processes.reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

async function processesOf(browser: Browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  await session.detach();
  return processInfo;
}

/** By what a process is started with. */
const PROCESSES = [
  ['--type=renderer', 'page and worker'],
  ['--type=gpu-process', 'GPU process'],
  ['storage.mojom.StorageService', 'storage service'],
  ['network.mojom.NetworkService', 'network service'],
] as const;

const stepOf = (page: Page) =>
  page.evaluate(() => {
    const text = document.querySelector('.progress-text')?.textContent ?? '';
    return Number(/^Step ([\d,]+) of/.exec(text)?.[1].replaceAll(',', '') ?? 0);
  });

/** Waits until the primary button says one of these and can be pressed. */
async function offers(page: Page, ...labels: string[]): Promise<void> {
  await page.waitForFunction(
    (wanted) => {
      const button = document.querySelector<HTMLButtonElement>('button.primary');
      return button && !button.disabled && wanted.includes(button.innerText.trim());
    },
    labels,
    { timeout: PATIENCE },
  );
}

const FINISHED = 'Again, from the same start';

/** Trains on an open page, which shows a tiny run's settings, and measures every so many steps. */
export async function trainOnPage(
  page: Page,
  { steps, every, browser }: { steps: number; every: number; browser?: Browser },
): Promise<Sample[]> {
  const samples: Sample[] = [];
  await offers(page, 'Distil');
  await primary(page).click();
  let [before, at] = [performance.now(), 0];
  while (at < steps) {
    await page.waitForFunction(
      ([least]) => {
        const text = document.querySelector('.progress-text')?.textContent ?? '';
        return Number(/^Step ([\d,]+) of/.exec(text)?.[1].replaceAll(',', '') ?? 0) >= least;
      },
      [Math.min(steps, at + every)],
      { timeout: PATIENCE, polling: 100 },
    );
    const step = await stepOf(page);
    const now = performance.now();
    samples.push({
      step,
      'GPU buffers': await gpuBuffers(page),
      ...(await holds(page, browser)),
      'step time': (now - before) / (step - at),
    } as Sample);
    [before, at] = [performance.now(), await stepOf(page)];
  }
  await offers(page, FINISHED);
  return samples;
}

/**
 * Starts runs and drops each at another moment, without a reload. With a browser, whose memory is
 * measured, nobody hears of the page's requests any more.
 */
export async function dropRuns(
  page: Page,
  { runs, seed, every, browser }: { runs: number; seed: number; every: number; browser?: Browser },
): Promise<Sample[]> {
  const random = new Random(seed);
  const samples: Sample[] = [];
  let before = browser ? await secondsOfCpu(browser) : 0;
  for (let run = 1; run <= runs; run++) {
    await offers(page, 'Distil');
    await primary(page).click();
    if (browser) await keepNoNetworkLog(page);
    const measured = run % every === 0;
    const sample: Sample = { step: run };
    // Dropped while it loads, compiles, or trains; one that is measured while it trains.
    if (!measured) await page.waitForTimeout(random.uniform() * 600);
    else {
      await page.waitForFunction(() => document.querySelector('.status-item .memory') !== null);
      sample['GPU buffers'] = await gpuBuffers(page);
    }
    await page.getByRole('button', { name: 'Reset', exact: true }).click({ timeout: PATIENCE });
    await offers(page, 'Distil');
    if (!measured) continue;
    if (browser) sample['CPU time'] = (1000 * ((await secondsOfCpu(browser)) - before)) / every;
    Object.assign(sample, await holds(page, browser));
    // Its garbage is collected by now.
    if (browser) sample['page and worker, in use'] = await inUse(browser);
    samples.push(sample);
    before = browser ? await secondsOfCpu(browser) : 0;
  }
  return samples;
}

/**
 * Short runs, one after another, each to its end.
 * @returns how many
 */
export async function endRuns(page: Page, until: () => boolean): Promise<number> {
  await offers(page, 'Distil');
  let runs = 0;
  while (!until()) {
    await primary(page).click();
    runs++;
    await offers(page, FINISHED);
  }
  return runs;
}

const TEXTS = [
  ...['', '0', '-1', '1', '2', '3', '16', '0.5', '1e9', 'NaN', 'abc', 'é🐋', '<b>x</b>'],
  ...['../..', '\u202e', '__proto__', "'; --", '9'.repeat(200), 'The whale'],
];
const LINKS = [
  ...['#v=1', '#runs', '#examples', '#lesson=temperature:4', '#lesson=nothing', '#lab=2,3'],
  ...['#lab=2,4,6:transpose(0,1):view(8,6)', '#bug=replay,batch=1', '#bug=heads', '#v=2&x', '#'],
  ...['#v=1&alpha=9', '#v=1&ghost=x', '#v=1&twin=loss%3Dce', '#lab=%ZZ', '#v=1&prompt=%00'],
  tinyLink('train_steps=30'),
  tinyLink('train_steps=400&eval_steps=40'),
];
const KEYS = ['Tab', 'Enter', 'Escape', 'Space', 'ArrowDown', 'ArrowRight', 'Home', 'Shift+Tab'];
/** A model of the hub would be asked for, and a file is chosen in a window of the system. */
const LEFT_ALONE = 'a:not([href^="#"]), [type=file]';

/**
 * Clicks, types and follows links at random, as the seed says.
 * @returns how often it did what
 */
export async function monkey(
  page: Page,
  { seed, until }: { seed: number; until(actions: number): boolean },
): Promise<Record<string, number>> {
  const random = new Random(seed);
  const pick = <Item>(items: readonly Item[]) => items[Math.floor(random.uniform() * items.length)];
  const done: Record<string, number> = {};
  // Entries of the browser's history that are the page's own.
  let depth = 0;
  for (let actions = 0; !until(actions); actions++) {
    const chance = random.uniform();
    let what: string;
    if (chance < 0.08) {
      what = 'link';
      depth++;
      await page.evaluate((hash) => {
        location.hash = hash;
      }, pick(LINKS));
    } else if (chance < 0.16) {
      what = 'key';
      await page.keyboard.press(pick(KEYS));
    } else if (chance < 0.18) {
      what = 'back';
      if (depth-- > 0) await page.evaluate(() => history.back());
      depth = Math.max(0, depth);
    } else if (chance < 0.2) {
      what = 'size';
      await page.setViewportSize(
        pick([
          { width: 390, height: 800 },
          { width: 1440, height: 900 },
        ]),
      );
    } else {
      what = await page.evaluate(act, [random.uniform(), pick(TEXTS), LEFT_ALONE] as const);
    }
    done[what] = (done[what] ?? 0) + 1;
    if (random.uniform() < 0.2) await page.waitForTimeout(random.uniform() * 300);
  }
  return done;
}

/** Runs in the page: clicks, or types the text into, one of the controls that can be seen. */
function act([chance, text, leftAlone]: readonly [number, string, string]): string {
  const all = document.querySelectorAll<HTMLElement>(
    'button, a[href], summary, input, select, textarea, [role=button], [tabindex="0"]',
  );
  const seen = [...all].filter(
    (element) =>
      element.checkVisibility() && !element.matches(leftAlone) && !element.matches(':disabled'),
  );
  const element = seen[Math.floor(chance * seen.length)];
  if (!element) return 'nothing';
  element.focus();
  const isText = element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement;
  if (element instanceof HTMLSelectElement) {
    element.selectedIndex = Math.floor(((chance * 997) % 1) * element.options.length);
    element.dispatchEvent(new Event('change', { bubbles: true }));
    return 'choose';
  }
  if (!isText || ['checkbox', 'radio', 'button'].includes(element.type)) {
    element.click();
    return 'click';
  }
  // React listens to the setter of the element's class.
  const setter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(element), 'value')?.set;
  setter?.call(element, element.type === 'range' ? String(chance * 100) : text);
  for (const type of ['input', 'change']) element.dispatchEvent(new Event(type, { bubbles: true }));
  return 'type';
}
