// The Bug Lab in the built page: its experiments run on the real engine and measure what they
// claim; every state has a link; the page is accessible.

import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { expectAccessible, LOOKS, look } from './accessible';
import { button, eventually, go, notices } from './drive';
import { openSite, type Site, sharedVisit, visit } from './harness';

const EXPERIMENT = 120_000;
const PATHS = ['view', 'reshape', 'strided'] as const;
/**
 * Both columns read the same logits. On an f16 adapter weights and activations are rounded, by at
 * most 2⁻¹¹.
 */
const F16_ROUNDING = 2 ** -11;

const ACCESSIBLE = 'no accessibility rule is violated, nothing scrolls sideways, in either theme';

/** Ends with the width and theme that the page began with. */
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
  const ready = button(page, label).or(button(page, again));
  await eventually(() => ready.isEnabled(), `${label} can be pressed`).toBe(true);
  // A press takes effect at once: both labels are gone until the experiment has ended.
  await ready.click();
  await eventually(() => button(page, again).isVisible(), `${label}: finished`, EXPERIMENT).toBe(
    true,
  );
  expect((await page.locator('.run-bar').innerText()).trim(), 'nothing stopped it').toBe(again);
}

/**
 * Opens a card's link. Its experiment has run in an earlier test, or runs now: the second try of a
 * test has a fresh page.
 */
async function openRun(page: Page, hash: string, label: string): Promise<void> {
  await go(page, hash);
  const either = button(page, label).or(button(page, `${label} again`));
  await either.waitFor();
  if (await button(page, label).isVisible()) await run(page, label);
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

// The page handles options alike on every adapter, so each experiment runs in one browser. One page
// serves these tests: an experiment runs once, then its results are read and checked for
// accessibility.
describe('with f16', () => {
  const shared = sharedVisit({ offer: 'f16', path: '#bug=' });

  describe('the three columns', () => {
    test('view evaluates nothing; reshape and strided agree; strided copies nothing', async () => {
      await run(shared.page, 'Run the three columns');
      await expectThreeColumns(shared.page);
      expect(shared.problems).toEqual([]);
    });

    test(ACCESSIBLE, async () => {
      await openRun(shared.page, '#bug=', 'Run the three columns');
      await expectAccessibleInEachLook(shared.page);
    });

    test('view works with batch size 1 or context 2', async () => {
      const { page, problems } = shared;
      await go(page, '#bug=replay,batch=1');
      await run(page, 'Run the three columns');
      for (const figures of Object.values(await allFigures(page))) {
        expect(figures['evaluation batches']).toBe(ALL_SUCCEEDED);
        expect(figures['bytes copied']).toBe('0 B');
      }

      await choose(page, 'Batch size', '4');
      await choose(page, 'Context', '2');
      await run(page, 'Run the three columns');
      const short = await allFigures(page);
      for (const figures of Object.values(short)) {
        expect(figures['evaluation batches']).toBe(ALL_SUCCEEDED);
        const [here, there] = [measured(figures.unclamped), measured(short.strided.unclamped)];
        expect(Math.abs(here - there)).toBeLessThanOrEqual(F16_ROUNDING * there);
      }
      expect(await page.getByTestId('symptom-quiet').innerText()).toContain(
        `view: ${BATCHES} of ${BATCHES}`,
      );
      expect(problems).toEqual([]);
    });

    test('with the slice in training no step computes a loss, yet Success is 1.000', async () => {
      const { page } = shared;
      await go(page, '#bug=replay,where=training');
      await run(page, 'Run the three columns');
      const { view, reshape, strided } = await allFigures(page);
      expect(view['training steps']).toBe('24 tried, 0 completed, 24 raised');
      expect(view['weights changed by']).toBe('0%');
      expect((await logOf(page, 'view')).at(-1)).toBe(
        'Step 24: Loss=n/a, PPL=10000.0, Success=1.000',
      );
      expect(reshape['training steps']).toBe('24 tried, 24 completed, 0 raised');
      expect(strided['bytes copied']).toBe('0 B');
      const [copied, read] = [measured(reshape.unclamped), measured(strided.unclamped)];
      expect(Math.abs(copied - read)).toBeLessThanOrEqual(F16_ROUNDING * read);
    });
  });

  describe('the four causes', () => {
    test('three of four causes print the same log; a better log tells them apart', async () => {
      const { page, problems } = shared;
      await go(page, '#bug=causes,seed=7');
      await run(page, 'Run the four causes');
      expect(await page.getByTestId('identical-logs').innerText()).toMatch(
        /^Logs [A-D], [A-D] and [A-D] print the same lines\. This log cannot tell them apart\.$/,
      );
      await page.getByText('Show what a better log prints').click();
      const found: string[] = [];
      for (const letter of 'ABCD') {
        const log = await page.getByTestId(`log-${letter}`).locator('.better-log').innerText();
        const cells = await page
          .getByTestId(`log-${letter}`)
          .locator('tbody tr')
          .last()
          .locator('td')
          .allInnerTexts();
        const unmoved = log.includes('Weights changed by 0%');
        const cause = !unmoved
          ? 'view'
          : cells[2] === 'skipped'
            ? 'skipped'
            : Number(cells[1]) === 0
              ? 'detached'
              : 'half-weights';
        expect(log.includes('Evaluation batches: 0 of 12 succeeded')).toBe(cause === 'view');
        await page.getByLabel(`Cause of log ${letter}`).selectOption(cause);
        found.push(cause);
      }
      expect(found.sort()).toEqual(['detached', 'half-weights', 'skipped', 'view']);
      await button(page, 'Check the answers').click();
      await eventually(() => page.getByText('4 of 4 correct.').isVisible()).toBe(true);
      expect(problems).toEqual([]);
    });

    test(ACCESSIBLE, async () => {
      await openRun(shared.page, '#bug=causes,seed=7,log=better', 'Run the four causes');
      await expectAccessibleInEachLook(shared.page);
    });
  });

  describe('heads', () => {
    test('pointer and keyboard select a row, and the text says what it attends to', async () => {
      const { page } = shared;
      await openRun(page, '#bug=heads', 'Train both');
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
    });

    test(ACCESSIBLE, async () => {
      const { page } = shared;
      await openRun(page, '#bug=heads,axes=claimed', 'Train both');
      const table = page.getByRole('button', { name: 'Head 0 of reshape as a table' });
      await table.click();
      await expectAccessibleInEachLook(page);
      await table.click();
    });

    test('both students learn without an error; a scrambled head sees only its block', async () => {
      const { page, problems } = shared;
      await openRun(page, '#bug=heads', 'Train both');
      const text = await page.getByTestId('loss-verdict').innerText();
      const [right, wrong] =
        /losses are ([\d.]+) and ([\d.]+)/.exec(text)?.slice(1).map(Number) ?? [];
      // A scrambled model that learnt nothing would still have its first loss, over a nat higher.
      expect(Math.abs(wrong - right)).toBeLessThan(0.5);

      const reshaped = page.getByTestId('heads-reshaped');
      const [T, H] = [32, 4];
      expect(await reshaped.locator('.heat-map').count()).toBe(H);
      for (let head = 0; head < H; head++) {
        await reshaped.getByRole('button', { name: `Head ${head} of reshape as a table` }).click();
        const rows = await reshaped
          .getByRole('region', { name: `Head ${head} of reshape, table` })
          .locator('tbody tr')
          .evaluateAll((all) =>
            all.map((row) =>
              [...row.querySelectorAll('td')].map((cell) => Number(cell.textContent)),
            ),
          );
        expect(rows).toHaveLength(T);
        for (const [query, row] of rows.entries()) {
          const block = Math.floor(query / (T / H));
          const attended = row.flatMap((weight, key) => (weight > 0 ? [key] : []));
          if (block !== head) expect(attended).toEqual([]);
          // Every weight is written to two digits.
          else expect(Math.abs(row.reduce((a, b) => a + b) - 1)).toBeLessThan(0.01 * row.length);
          expect(attended.every((key) => Math.floor(key / (T / H)) === head && key <= query)).toBe(
            true,
          );
        }
      }
      expect(problems).toEqual([]);
    });
  });
});

describe('the link', () => {
  test('follows the options, restores them, and starts nothing', async () => {
    const { page, close } = await visit(site, { path: '#bug=' });
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
    await close();
  });

  test('that is invalid is refused with the reason, and changes nothing', async () => {
    const { page, close } = await visit(site, { path: '#bug=replay,context=2' });
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
    await close();
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
