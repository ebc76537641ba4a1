// A link restores a run's settings and starts nothing; the address follows the settings; what is
// wrong with a link is said, and the page works on.

import { beforeAll, describe, expect, test } from 'vitest';
import {
  button,
  eventually,
  FINISHED,
  follow,
  go,
  link,
  notices,
  offered,
  primary,
  reached,
  run,
  set,
  statusOf,
  tableOf,
} from './drive';
import { openSite, type Site, sharedVisit, visit } from './harness';

const SETTINGS = {
  batch_size: 2,
  max_length: 16,
  train_steps: 2,
  eval_batches: 1,
  alpha: 0.4,
  prompt: 'Call me Ishmael & co',
};
/** The page opens with the first preset. */
const DEFAULT_STEPS = '60';
const UNKNOWN = '#v=1&train_stepz=5';

let site: Site;
beforeAll(async () => {
  site = await openSite();
});

const shownValue = (page: Awaited<ReturnType<typeof visit>>['page'], field: string) =>
  page.getByTestId(`field-${field}`).locator('input[type=text], select').first().inputValue();

test('a link restores the settings and starts nothing until the button is pressed', async () => {
  site.requests.splice(0);
  const { page, problems, close } = await visit(site, {
    offer: 'f16',
    path: link(SETTINGS),
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  await offered(page, 'Distil');
  for (const [field, value] of Object.entries(SETTINGS))
    expect(await shownValue(page, field), field).toBe(String(value));
  await page.waitForLoadState('networkidle');
  expect(await page.locator('.progress-text').innerText()).toContain('Nothing is loaded yet');
  expect(site.requests.filter((path) => /^(models|corpus)\/|\.wasm$/.test(path))).toEqual([]);

  await primary(page).click();
  await reached(page, 2);
  // The built-in teacher runs in our own kernels: onnxruntime and its graph are not even loaded.
  expect(site.requests).toContain('models/moby-teacher/model.safetensors');
  expect(site.requests.filter((path) => /\.(onnx|wasm)$/.test(path))).toEqual([]);
  expect((await statusOf(page))['teacher in']).toBe('stillhouse');

  // The run itself can be shared: whoever opens its link sees its curve, and nothing starts.
  await offered(page, FINISHED);
  await page.locator('.header').getByRole('button', { name: 'Share' }).click();
  await button(page, 'Share this run').click();
  await eventually(() => page.getByText('the settings and the curve').isVisible()).toBe(true);
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  const perplexity = (await tableOf(page, 'Perplexity')).at(-1)?.[1] ?? '';
  const hash = copied.slice(site.url.length);
  // Raced here, it has the same bits.
  await follow(page, hash);
  await run(page);
  await eventually(() => page.getByTestId('ghost').innerText()).toMatch(
    new RegExp(`^Yours ended at perplexity ${perplexity}, theirs at [\\d,.]+\\. `),
  );
  expect(problems).toEqual([]);
  await close();

  const other = await visit(site, { path: hash });
  const ghost = other.page.getByTestId('ghost');
  await eventually(() => ghost.innerText()).toMatch(
    /^“\w+ \w+” reached perplexity [\d,.]+ at step 2/,
  );
  const reachedText = /perplexity ([\d,.]+) at/.exec(await ghost.innerText())?.[1] ?? '';
  const number = (text: string) => Number(text.replaceAll(',', ''));
  expect(Math.abs(number(reachedText) / number(perplexity) - 1)).toBeLessThan(0.0002);
  await eventually(() => other.page.locator('.behind-runs').innerText()).toContain('(shared)');
  expect(await other.page.locator('.progress-text').innerText()).toContain('Nothing is loaded yet');
  // It stays in the address when a setting changes; removed, it goes from there, too.
  await set(other.page, 'train_steps', '3');
  await eventually(() => ghost.innerText()).toContain('Your settings differ: Steps 3.');
  await eventually(() => new URL(other.page.url()).hash).toMatch(/train_steps=3&.*ghost=/);
  await ghost.getByRole('button').click();
  await eventually(() => new URL(other.page.url()).hash).not.toContain('ghost');
  // One character less, and the settings alone are opened: they change while the page is open.
  await go(other.page, hash.slice(0, -1));
  await eventually(() => notices(other.page)).toContain('The link’s run is not shown');
  await eventually(() => shownValue(other.page, 'train_steps')).toBe('2');
  expect(other.problems).toEqual([]);
  await other.close();
});

test('changed settings are in the address, and opening that address restores them', async () => {
  // Without a link the page opens with a preset, and its address stays empty until a change.
  const preset = await visit(site);
  expect(new URL(preset.page.url()).hash).toBe('');
  await preset.close();
  const { page, close } = await visit(site, { path: '#v=1' });
  await set(page, 'train_steps', '120');
  await set(page, 'temperature', '3.5');
  await set(page, 'lr_schedule', 'linear');
  await eventually(() => new URL(page.url()).hash).toBe(
    '#v=1&temperature=3.5&train_steps=120&lr_schedule=linear',
  );
  await page.reload();
  expect(await shownValue(page, 'temperature')).toBe('3.5');
  expect(await shownValue(page, 'lr_schedule')).toBe('linear');

  await set(page, 'train_steps', 'many');
  await eventually(() => page.getByTestId('field-train_steps').innerText()).toContain(
    'train_steps is "many"',
  );
  await offered(page, 'Distil, disabled');
  await set(page, 'train_steps', '150');
  await offered(page, 'Distil');
  await eventually(() => new URL(page.url()).hash).toContain('train_steps=150');
  await close();
});

test('Share copies the link to these settings', async () => {
  const { page, close } = await visit(site, {
    path: link(SETTINGS),
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  await button(page, 'Share').click();
  await eventually(() => page.getByText('Link copied').isVisible()).toBe(true);
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied.startsWith(`${site.url}#v=1&`)).toBe(true);
  const second = await visit(site, { path: copied.slice(site.url.length) });
  for (const [field, value] of Object.entries(SETTINGS))
    expect(await shownValue(second.page, field)).toBe(String(value));
  await second.close();
  await close();
});

describe('a malformed link leaves the page as it was and says what is wrong', () => {
  const noise = Array.from({ length: 100_000 }, (_, i) =>
    String.fromCharCode(33 + ((i * 7919 + (i >> 3)) % 90)),
  ).join('');
  const shared = sharedVisit();

  test('when the page is opened with it', async () => {
    const { page, problems, close } = await visit(site, { path: UNKNOWN });
    await eventually(() => notices(page)).toContain('"train_stepz" is not a setting');
    expect(await shownValue(page, 'train_steps')).toBe(DEFAULT_STEPS);
    await offered(page, 'Distil');
    expect(problems).toEqual([]);
    await close();
  });

  // Opening and following a link go the same way; one page serves what is wrong with links.
  test.each([
    ['an unknown name', UNKNOWN, '"train_stepz" is not a setting'],
    [
      'a value out of range',
      '#v=1&train_steps=0',
      'train_steps is 0. It must be a whole number from 1 to 100000.',
    ],
    ['no number', '#v=1&alpha=half', 'alpha is "half". It must be a number from 0 to 1.'],
    ['a choice that is none', '#v=1&loss=magic', 'loss is "magic". It must be one of mixed, ce'],
    [
      'settings that do not fit',
      '#v=1&student_width=66',
      'student_width is 66 and student_heads is 2.',
    ],
    [
      'a version from the future',
      '#v=9&train_steps=5',
      'v is "9". It must be 1. The link was made by a newer Stillhouse.',
    ],
    ['no version', '#train_steps=5', 'v is missing'],
    [
      'the names that objects inherit',
      '#v=1&__proto__=5&constructor=6&toString=7',
      '"__proto__", "constructor", "toString" are not settings',
    ],
    [
      'broken percent signs',
      '#v=1&prompt=%E0%A4',
      'prompt is "%E0%A4", which is not percent-encoded UTF-8',
    ],
    ['100 KB of noise', `#${noise}`, 'v is missing'],
    [
      '100 KB of one value',
      `#v=1&prompt=${'a'.repeat(100_000)}`,
      'prompt has 100000 characters. It must have at most 200.',
    ],
  ])('%s', async (_, path, said) => {
    const { page, problems } = shared;
    await go(page, path);
    await eventually(() => notices(page)).toContain('The link’s settings were not applied.');
    const text = await notices(page);
    expect(text).toContain(said);
    expect(text.length).toBeLessThan(3000);
    expect(await shownValue(page, 'train_steps')).toBe(DEFAULT_STEPS);
    expect(await page.evaluate(() => ({}).constructor === Object && !('polluted' in {}))).toBe(
      true,
    );
    await offered(page, 'Distil');
    await button(page, 'Dismiss').click();
    await eventually(() => notices(page)).not.toContain('The link’s settings');
    expect(problems).toEqual([]);
  });
});
