// Offloading on the page: the teacher says once what it thinks of every batch, leaves the GPU, and
// training goes on from what was written.

import { describe, expect, test } from 'vitest';
import {
  button,
  csvOf,
  FINISHED,
  follow,
  link,
  logLines,
  offered,
  pauseAfter,
  primary,
  run,
  statusOf,
  watch,
} from './drive';
import { sharedVisit } from './harness';

const SMALL = {
  batch_size: 2,
  max_length: 16,
  train_steps: 12,
  eval_steps: 6,
  eval_batches: 2,
  sample_tokens: 4,
  student_layers: 1,
  warmup_steps: 2,
  student_lr: 0.01,
};
const CACHED = { ...SMALL, teacher_cache: 'on' };

const shared = sharedVisit({ offer: 'f16' });
const CACHING = '[role=progressbar][aria-label="Caching the teacher"]';
const kept = () => shared.page.getByTestId('cache').innerText();

// What the files hold is the same on every adapter: tests/gpu/cache shows that on both.
describe('offloading', () => {
  test('64 tokens: the bar counts, the teacher’s memory is freed, the loss is shown', async () => {
    const more = { train_steps: 60, eval_steps: 5 };
    const { page, problems } = shared;
    await follow(page, link({ ...CACHED, ...more }));
    await pauseAfter(page, 2);
    const counted = await watch(page, CACHING, { attribute: 'aria-valuetext' });
    const details = await watch(page, '.progress-detail');
    await primary(page).click();
    await offered(page, 'Continue');
    expect(await counted()).toContainEqual(expect.stringMatching(/[\d.]+ [kM]?B of 5\d\d kB/));
    expect(await details()).toContainEqual(
      expect.stringMatching(/^[\d,]+ of 1,984 positions, 260 bytes each/),
    );

    expect(await kept()).toMatch(
      new RegExp(
        '^The teacher is cached and off the GPU: the top 64 of 1,024 tokens, ' +
          '260 bytes per position, 583 kB in total, written in \\d+\\.\\d s\\.',
      ),
    );
    expect(await kept()).toMatch(
      new RegExp(
        'Before training, KL was \\d\\.\\d+ over all tokens and \\d\\.\\d+ ' +
          'over the top 64 and the tail: [\\d.e-]+ less',
      ),
    );
    const status = await statusOf(page);
    expect(status['GPU memory']).toMatch(/MB/);
    expect(status['GPU memory']).not.toContain('teacher');

    const temperature = page.getByTestId('field-temperature');
    expect(await temperature.locator('input[type=text]').isDisabled()).toBe(true);
    expect(await temperature.locator('.locked-note').innerText()).toContain(
      'at this temperature. A cache of all tokens (Cached tokens = 0) allows changes.',
    );
    expect(await page.getByTestId('field-alpha').locator('input[type=text]').isDisabled()).toBe(
      false,
    );
    await primary(page).click();
    await offered(page, FINISHED);

    const evaluations = await csvOf(page, 'perplexity');
    expect(new Set(evaluations.map(({ teacherPerplexity }) => teacherPerplexity)).size).toBe(1);
    expect(Number(evaluations[0].teacherPerplexity)).toBeGreaterThan(1);
    expect(evaluations.every(({ klWords }) => klWords === '64')).toBe(true);
    expect(Number(evaluations.at(-1)?.kl)).toBeLessThan(Number(evaluations[0].kl));
    expect(await page.locator('table.distance').innerText()).toContain(
      'KL, top 64 tokens and tail',
    );
    const quote = page.locator('figure.quote', { hasText: 'Teacher' }).locator('blockquote');
    expect((await quote.innerText()).length).toBeGreaterThan('The whale'.length);

    // The same run again: the cache is there, and the teacher is not asked for.
    const losses = await csvOf(page, 'loss');
    await run(page, FINISHED);
    expect(await kept()).toContain('from an earlier run that wrote it in');
    expect(await csvOf(page, 'loss')).toEqual(losses);
    expect(problems).toEqual([]);
  });

  // That the losses are then those without a cache, tests/gpu/cache shows.
  test('all words kept: the page says so, and any loss can be had', async () => {
    const settings = { ...CACHED, cache_top_k: 0, kd_loss: 'rkl', sample_tokens: 0 };
    const { page, problems } = shared;
    await follow(page, link(settings));
    await run(page);
    expect(await kept()).toContain('all 1,024 tokens, 2,048 bytes per position');
    const evaluations = await csvOf(page, 'perplexity');
    expect(evaluations).toHaveLength(3);
    expect(evaluations.every(({ klWords }) => klWords === 'all')).toBe(true);
    expect(Number(evaluations[2].kl)).toBeLessThan(Number(evaluations[0].kl));
    expect(problems).toEqual([]);
  });
});

test('a full disk is told with both sizes, and the run goes on with its teacher', async () => {
  const { page, problems } = shared;
  await follow(page, link(CACHED));
  const [worker] = page.workers();
  await worker.evaluate(`
    StorageManager.prototype.measured = StorageManager.prototype.estimate;
    StorageManager.prototype.estimate = async () => ({ quota: 100000, usage: 20000 });
  `);
  await run(page);
  await worker.evaluate('StorageManager.prototype.estimate = StorageManager.prototype.measured;');
  expect((await logLines(page)).join('\n')).toContain(
    'The teacher’s cache needs 0.2 MB; there is room for 0.1 MB. ' +
      'The run continues with the teacher in memory.',
  );
  expect(await page.getByTestId('cache').count()).toBe(0);
  expect((await statusOf(page))['GPU memory']).toContain('teacher');
  expect(problems).toEqual([]);
});

test('an unfinished cache is dropped with its run, and the next run writes it again', async () => {
  const { page, problems } = shared;
  await follow(page, link({ ...CACHED, train_steps: 400, eval_steps: 400 }));
  const stop = { attribute: 'aria-valuenow', press: 'button.primary', at: '^[1-9]' };
  await watch(page, CACHING, stop);
  await primary(page).click();
  await offered(page, 'Distil');
  await follow(page, link(CACHED));
  await page.reload();
  await run(page);
  expect((await logLines(page)).join('\n')).toContain(
    'writing it was interrupted. The run writes a new one.',
  );
  expect(await kept()).toContain('written in');
  expect(problems).toEqual([]);
});

test('a loss that 64 words cannot serve is refused, with what would', async () => {
  const { page } = shared;
  await follow(page, link({ ...CACHED, loss: 'rkl' }));
  await primary(page).click();
  await offered(page, 'Try again');
  const notice = page.locator('.notice.problem').first();
  expect(await notice.innerText()).toContain('Could not use the teacher’s cache.');
  expect(await notice.innerText()).toContain('serves forward KL, fkl; this run’s loss is rkl');
  expect(await button(page, 'Reset').isEnabled()).toBe(true);
});
