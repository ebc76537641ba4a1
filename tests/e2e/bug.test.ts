// The Bug Lab in the built page: an experiment runs on the real engine and measures what it claims
// (tests/gpu/bug-lab.test.ts has them all); every state has a link; the page is accessible.

import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import type { BugLabReport, FromWorker, ToWorker } from '../../src/worker/protocol';
import { causeReports, headReports } from '../unit/app/bug-reports';
import { expectAccessible, LOOKS, look } from './accessible';
import { button, eventually, go, notices, PATIENCE_WITH_A_RUN } from './drive';
import { openSite, type Site, sharedVisit, visit } from './harness';

const PATHS = ['view', 'reshape', 'strided'] as const;
/**
 * Both columns read the same logits. On an f16 adapter weights and activations are rounded, by at
 * most 2⁻¹¹.
 */
const F16_ROUNDING = 2 ** -11;

/**
 * No accessibility rule is violated and nothing scrolls sideways. Ends with the width and theme
 * that the page began with.
 */
async function expectAccessibleInEachLook(page: Page): Promise<void> {
  for (const each of LOOKS.toReversed()) {
    await look(page, each);
    await expectAccessible(page, { state: each.colorScheme });
  }
}

let site: Site;
beforeAll(async () => {
  site = await openSite();
});

const column = (page: Page, path: string) => page.getByTestId(`column-${path}`);
const choose = (page: Page, legend: string, value: string) =>
  page.getByRole('group', { name: legend }).getByText(value, { exact: true }).click();

/** Presses the card's button and waits until the experiment has finished. */
async function run(page: Page, label: string): Promise<void> {
  const again = `${label} again`;
  await button(page, label).click();
  const finished = () => button(page, again).isVisible();
  await eventually(finished, `${label}: finished`, PATIENCE_WITH_A_RUN).toBe(true);
  expect((await page.locator('.run-bar').innerText()).trim(), 'nothing stopped it').toBe(again);
}

/** A column's figures, by their labels. */
async function figuresOf(page: Page, path: string): Promise<Record<string, string>> {
  const rows = await column(page, path)
    .locator('.bug-figures > div')
    .evaluateAll((all) =>
      all.map((row) => ['dt', 'dd'].map((part) => row.querySelector(part)?.textContent ?? '')),
    );
  return Object.fromEntries(rows);
}

const allFigures = async (page: Page) => {
  const [view, reshape, strided] = await Promise.all(PATHS.map((path) => figuresOf(page, path)));
  return { view, reshape, strided };
};
const measured = (text: string) => Number(text.replaceAll(',', ''));
const logOf = (page: Page, path: string) =>
  column(page, path).locator('.script-log li').allInnerTexts();

/** Four batches before training and after each third of it. */
const BATCHES = 16;
const ALL_SUCCEEDED = `${BATCHES} tried, ${BATCHES} succeeded, 0 failed`;

/** What the three columns claim, once they have run. */
async function expectThreeColumns(page: Page): Promise<void> {
  const { view, reshape, strided } = await allFigures(page);
  expect(view['evaluation batches']).toBe(`${BATCHES} tried, 0 succeeded, ${BATCHES} failed`);
  expect(view.perplexity).toBe('10000.0');
  expect(view.unclamped).toBe('n/a (0 valid tokens)');
  expect(view['bytes copied']).toBe('0 B');
  expect(reshape['evaluation batches']).toBe(ALL_SUCCEEDED);
  expect(strided['evaluation batches']).toBe(ALL_SUCCEEDED);
  const [copied, read] = [measured(reshape.unclamped), measured(strided.unclamped)];
  expect(read).toBeGreaterThan(1);
  expect(Math.abs(copied - read)).toBeLessThanOrEqual(F16_ROUNDING * read);
  expect(strided['bytes copied']).toBe('0 B');
  expect(reshape['bytes copied']).toMatch(/^[\d.]+ MB$/);

  // Evaluation does not train: the column whose evaluation fails learns like the others.
  const logs = await Promise.all(PATHS.map((path) => logOf(page, path)));
  for (const [step, line] of [8, 16, 24].entries()) {
    expect(logs[0][step + 1]).toMatch(
      new RegExp(`^Step ${line}: Loss=\\d\\.\\d{4}, PPL=10000\\.0, Success=1\\.000$`),
    );
    expect(logs[2][step + 1].split(',')[0]).toBe(logs[0][step + 1].split(',')[0]);
  }
  const error = await column(page, 'view').locator('.bug-error').innerText();
  expect(error).toContain("view size is not compatible with input tensor's size and stride");
  expect(error).toMatch(/sizes \[4, 31, 1024\], strides \[32768, 1024, 1\]/);
  expect(await page.getByTestId('symptom-flat').innerText()).toContain(
    `while 0 of ${BATCHES} evaluation batches succeeded`,
  );
  expect(await page.locator('.code-line.raised').innerText()).toContain(
    `raised in ${BATCHES} of ${BATCHES} batches`,
  );
}

test('view evaluates nothing; reshape and strided agree; strided copies nothing', async () => {
  const { page, problems, close } = await visit(site, { offer: 'f16', path: '#bug=' });
  await run(page, 'Run the three columns');
  await expectThreeColumns(page);
  await expectAccessibleInEachLook(page);
  expect(problems).toEqual([]);
  await close();
});

/**
 * Presses the card's button, and has these reports arrive in place of the worker's. What the page
 * shows of an experiment does not depend on who computed it (tests/gpu/bug-lab.test.ts).
 */
async function play(page: Page, label: string, reports: BugLabReport[]): Promise<void> {
  await page.evaluate((reports) => {
    const { postMessage } = Worker.prototype;
    Worker.prototype.postMessage = function (this: Worker, message: ToWorker) {
      if (message.type !== 'bug-lab') return postMessage.call(this, message);
      Worker.prototype.postMessage = postMessage;
      const { id } = message;
      const say = (data: FromWorker) => this.dispatchEvent(new MessageEvent('message', { data }));
      for (const report of reports) say({ type: 'progress', id, progress: { report } });
      say({ type: 'result', id, result: undefined });
    } as Worker['postMessage'];
  }, reports);
  await button(page, label).click();
  await button(page, `${label} again`).waitFor();
}

describe('the page alone', () => {
  const shared = sharedVisit({ path: '#bug=' });

  test('a link follows the options, restores them, and starts nothing', async () => {
    const { page } = shared;
    await choose(page, 'Batch size', '1');
    await choose(page, 'Errors are', 'raised');
    await choose(page, 'Perplexity', 'as measured');
    await eventually(() => new URL(page.url()).hash).toBe(
      '#bug=replay,batch=1,errors=raised,clamp=off',
    );
    await page.reload();
    for (const [legend, value] of [
      ['Batch size', '1'],
      ['Context', '32'],
      ['Errors are', 'raised'],
      ['Perplexity', 'as measured'],
    ]) {
      const chosen = page
        .getByRole('group', { name: legend })
        .getByRole('radio', { name: value, exact: true });
      expect(await chosen.isChecked(), legend).toBe(true);
    }
    expect(await column(page, 'view').innerText()).toContain('Not run yet.');
    await page.getByRole('link', { name: 'Which cause explains this log?' }).click();
    await eventually(() => new URL(page.url()).hash).toBe('#bug=causes');
    await eventually(() => button(page, 'Run the four causes').isVisible()).toBe(true);
    await page.goBack();
    await eventually(() => button(page, 'Run the three columns').isVisible()).toBe(true);
    expect(new URL(page.url()).hash).toBe('#bug=replay,batch=1,errors=raised,clamp=off');
  });

  test('a link that is invalid is refused with the reason, and changes nothing', async () => {
    const { page } = shared;
    await go(page, '#bug=replay,context=2');
    const context = page
      .getByRole('group', { name: 'Context' })
      .getByRole('radio', { name: '2', exact: true });
    await eventually(() => context.isChecked()).toBe(true);
    await page.evaluate(() => {
      location.hash = '#bug=replay,batch=3';
    });
    await eventually(() => notices(page)).toContain('batch is "3". It must be 4 or 1.');
    expect(await context.isChecked()).toBe(true);
    await button(page, 'Dismiss').click();
    await eventually(() => new URL(page.url()).hash).toBe('#bug=replay,context=2');
    await eventually(() => notices(page)).not.toContain('batch');
  });

  test('four logs and a better log: accessible, nothing scrolls sideways', async () => {
    const { page, problems } = shared;
    await go(page, '#bug=causes,seed=7,log=better');
    await play(page, 'Run the four causes', causeReports());
    expect(await page.getByTestId('log-D').locator('.better-log').innerText()).not.toBe('');
    await expectAccessibleInEachLook(page);
    expect(problems).toEqual([]);
  });

  test('pointer and keyboard select a row, and the text says what it attends to', async () => {
    const { page, problems } = shared;
    await go(page, '#bug=heads');
    await play(page, 'Train both', headReports(32, 4));
    const first = page.getByTestId('heads-transposed').locator('.heat-map').first();
    const query = page.getByRole('slider', { name: 'Query row' });
    await query.focus();
    await page.keyboard.press('End');
    const value = () => query.getAttribute('aria-valuetext');
    await eventually(value).toMatch(/^31 of 31, “/);
    const words = await first.locator('.heat-text').innerText();
    await first.locator('svg').hover({ position: { x: 2, y: 2 } });
    await eventually(value).toMatch(/^0 of 31, “/);
    await eventually(() => first.locator('.heat-text').innerText()).toMatch(
      /^(“.+”) attends to \1 1\.00\.$/,
    );
    expect(await first.locator('.heat-text').innerText()).not.toBe(words);

    // Heads by the tokens that the code assumes, and one as a table, for each look.
    await go(page, '#bug=heads,axes=claimed');
    await page.getByRole('button', { name: 'Head 0 of reshape as a table' }).click();
    await expectAccessibleInEachLook(page);
    expect(problems).toEqual([]);
  });
});

test('without WebGPU the page can be read, and says why nothing can run', async () => {
  const { page, close } = await visit(site, { offer: 'no-webgpu', path: '#bug=' });
  await eventually(() => page.locator('.run-bar').innerText()).toContain(
    'No experiment can run on this machine.',
  );
  expect(await button(page, 'Run the three columns').isEnabled()).toBe(false);
  expect(await page.getByTestId('symptom-flat').innerText()).toContain('Evaluation does not train');
  await close();
});
