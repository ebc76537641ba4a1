// What a person does on the page and reads there, by the names that the page itself gives to
// things.

import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import type { RunEvent, ToWorker } from '../../src/worker/protocol';
import { awaited } from './awaited';
import { PATIENCE } from './harness';

/** Software adapters are slow, and slower while something else computes. */
export const PATIENCE_WITH_A_RUN = 300_000;

/**
 * Settings as the page's link carries them: small enough for a software adapter unless `settings`
 * says otherwise.
 */
export function link(settings: Record<string, string | number>): string {
  return `#v=1&${Object.entries(settings)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&')}`;
}

export const primary = (page: Page) => page.locator('button.primary');
export const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });

/** Follows a link within the open page, and returns when the page has heard of it. */
export const go = (page: Page, hash: string) =>
  page.evaluate(
    (to) =>
      new Promise<void>((resolve) => {
        if (location.hash === to) return resolve();
        addEventListener('hashchange', () => setTimeout(resolve), { once: true });
        location.hash = to;
      }),
    hash,
  );

/**
 * Brings an open page to other settings, as somebody who drops the run and follows a link does. The
 * page stays loaded, and with it the worker's device, kernels and onnxruntime.
 */
export async function follow(page: Page, hash: string): Promise<void> {
  const reset = button(page, 'Reset');
  if (await reset.isEnabled()) await reset.click();
  await go(page, hash);
  await offered(page, 'Distil');
}

/** Presses the primary button, which says `label`, and waits until the run has finished. */
export async function run(page: Page, label = 'Distil'): Promise<void> {
  await offered(page, label);
  await primary(page).click();
  await offered(page, FINISHED);
}

/**
 * Waits for what the page will come to show, which is read each `interval` milliseconds: a run that
 * takes long needs the processor more than it needs to be looked at.
 */
export const eventually = <T>(
  read: () => T | Promise<T>,
  message?: string,
  timeout = PATIENCE,
  interval = 50,
) => expect.poll(read, { timeout, message, interval });
/** Between looks at a run that is on its way to its end. */
const SELDOM = 250;

/** What the primary button says when a run has ended. */
export const FINISHED = 'Again, from the same start';

/** Waits until the primary button says `label` and can be pressed. */
export async function offered(page: Page, label: string): Promise<void> {
  const says = async () =>
    (await primary(page).innerText()).trim() +
    ((await primary(page).isEnabled()) ? '' : ', disabled');
  const patience = label === FINISHED ? [PATIENCE_WITH_A_RUN, SELDOM] : [PATIENCE];
  try {
    await eventually(says, `the primary button offers ${label}`, ...patience).toBe(label);
  } catch (error) {
    (error as Error).message += `\n${await situation(page)}`;
    throw error;
  }
}

/** What the page shows and whether its worker answers, for a test that waited in vain. */
async function situation(page: Page): Promise<string> {
  const parts = ['.progress', '.status-item', '.notice', '[data-testid=log] li'];
  const shown = parts.map(async (part) => {
    const texts = await page.locator(part).allInnerTexts();
    return `${part}: ${texts.slice(-8).join(' | ').replaceAll('\n', ' ')}`;
  });
  return [...(await Promise.all(shown)), `worker: ${await awaited(page)}`].join('\n');
}

/** The step that the progress bar shows. */
export async function stepOf(page: Page): Promise<number> {
  const text = await page.locator('.progress-text').innerText();
  return Number(/^Step ([\d,]+) of/.exec(text)?.[1].replaceAll(',', '') ?? Number.NaN);
}

export async function reached(page: Page, step: number): Promise<void> {
  await eventually(() => stepOf(page), `step ${step} is reached`).toBeGreaterThanOrEqual(step);
}

/**
 * Has a run pause once it is past this step. The worker does so, as if it heard that Pause was
 * pressed the moment it reports the step: a busy machine's page may press it only after the end.
 * @param nth which of the runs that report from now on
 */
export async function pauseAfter(page: Page, step: number, nth = 1): Promise<void> {
  await eventually(() => page.workers().length, 'the worker is there').toBe(1);
  await page.workers()[0].evaluate(
    ([after, nth]) => {
      const worker = globalThis as unknown as DedicatedWorkerGlobalScope;
      const { postMessage } = worker;
      const runs = new Set<string>();
      worker.postMessage = (message: RunEvent) => {
        postMessage.call(worker, message);
        if (message.type !== 'steps') return;
        const { runId, records } = message;
        if (runs.add(runId).size < nth || (records.at(-1)?.step ?? 0) < after) return;
        worker.postMessage = postMessage;
        const data: ToWorker = { type: 'pause', runId };
        worker.dispatchEvent(new MessageEvent('message', { data }));
      };
    },
    [step, nth],
  );
}

/**
 * Notes each text that an element comes to show, or each value of its attribute, from now on: what
 * passes by is not missed, however slow the test is. Returns what was seen so far.
 * @param press what is pressed, by its selector, at the first text that has this in it
 */
export async function watch(
  page: Page,
  selector: string,
  { attribute = '', press = '', at = '' } = {},
): Promise<() => Promise<string[]>> {
  const seen = await page.evaluateHandle(
    ([selector, attribute, press, at]) => {
      const seen: string[] = [];
      let pressed = false;
      const look = () => {
        const element = document.querySelector<HTMLElement>(selector);
        if (!element) return;
        const text = (attribute ? element.getAttribute(attribute) : element.textContent) ?? '';
        if (text !== seen.at(-1)) seen.push(text);
        if (!press || pressed || !new RegExp(at).test(text)) return;
        pressed = true;
        document.querySelector<HTMLElement>(press)?.click();
      };
      new MutationObserver(look).observe(document, {
        subtree: true,
        childList: true,
        characterData: true,
        attributes: true,
      });
      return seen;
    },
    [selector, attribute, press, at],
  );
  return () => seen.jsonValue();
}

export const logLines = (page: Page) => page.getByTestId('log').locator('li').allInnerTexts();

/** What the page warns of, one text a notice. */
export const notices = async (page: Page) =>
  (await page.locator('.notice').allInnerTexts()).join('\n');

/** The status strip: what is said of each term. */
export async function statusOf(page: Page): Promise<Record<string, string>> {
  const items = page.getByLabel('Status', { exact: true }).locator('.status-item');
  const texts = await items.evaluateAll((all) =>
    all.map((item) => ['dt', 'dd'].map((part) => item.querySelector(part)?.textContent ?? '')),
  );
  return Object.fromEntries(texts);
}

/** Types a setting's value into its control, unfolding what hides it. */
export async function set(page: Page, field: string, value: string): Promise<void> {
  const control = page.getByTestId(`field-${field}`).locator('input[type=text], select').first();
  for (const fold of await page.locator('details', { has: control }).all()) {
    if ((await fold.getAttribute('open')) === null) await fold.locator('summary').first().click();
  }
  if (await control.evaluate((element) => element instanceof HTMLSelectElement))
    await control.selectOption(value);
  else await control.fill(value);
}

/** The rows of a chart's table twin, cells as text; the chart is shown again afterwards. */
export async function tableOf(page: Page, title: string): Promise<string[][]> {
  const toggle = button(page, `${title} as a table`);
  await toggle.click();
  const rows = page.getByRole('region', { name: `${title}, table` }).locator('tbody tr');
  const cells = await rows.evaluateAll((all) =>
    all.map((row) => [...row.children].map((cell) => cell.textContent ?? '')),
  );
  await toggle.click();
  return cells;
}

/** A chart's picture as it is downloaded, byte by byte. */
export async function imageOf(page: Page, name: string, type: 'SVG' | 'PNG'): Promise<string> {
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    button(page, `Download ${name} as ${type}`).click(),
  ]);
  return readFile(await file.path(), 'latin1');
}

/**
 * A chart's CSV as it is downloaded, of the current run or another: one record a line, values by
 * column as they were written.
 */
export async function csvOf(
  page: Page,
  name: string,
  of = 'current',
): Promise<Record<string, string>[]> {
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    button(page, `Download ${name} as CSV`).click(),
  ]);
  const [head, ...lines] = (await readFile(await file.path(), 'utf8')).trim().split('\n');
  const names = head.split(',');
  const rows = lines.map(
    (line): Record<string, string> =>
      Object.fromEntries(line.split(',').map((value, i) => [names[i], value])),
  );
  // With runs behind the current one, each row names its run.
  return rows.filter(({ run = 'current' }) => run === of).map(({ run: _, ...row }) => row);
}
