// The student taken away in the browser and brought back: a .zip with everything in it, which then
// teaches, and starts a student.

import { readFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { DEFAULTS } from '../../src/config';
import { readSafetensors } from '../../src/files/safetensors';
import { readJson } from '../../src/files/source';
import { zipFiles, zipSource } from '../../src/files/unzip';
import { parseLink } from '../../src/link';
import {
  button,
  eventually,
  follow,
  link,
  logLines,
  notices,
  offered,
  pauseAfter,
  primary,
  run,
  set,
} from './drive';
import { sharedVisit } from './harness';

const SMALL = {
  batch_size: 2,
  max_length: 16,
  train_steps: 4,
  eval_steps: 2,
  eval_batches: 1,
  sample_tokens: 2,
};
const NAME = 'gpt2-1x64-from-moby-teacher-4-steps';

const shared = sharedVisit({ offer: 'f16' });

/** What is said of the files that are being taken. */
const said = (page: Page) => page.getByRole('region', { name: 'Downloads' }).innerText();
const found = async (page: Page) =>
  (await page.locator('.model-report').allInnerTexts()).join('\n');

async function unfoldModels(page: Page): Promise<void> {
  const fold = page.locator('details.fold', { has: page.getByTestId('field-teacher_model') });
  if ((await fold.getAttribute('open')) === null) await fold.locator('summary').first().click();
}

/** Presses the button and waits for the file. */
async function take(
  page: Page,
  what = 'Download student',
): Promise<{ name: string; path: string }> {
  const [file] = await Promise.all([page.waitForEvent('download'), button(page, what).click()]);
  return { name: file.suggestedFilename(), path: await file.path() };
}

test('a finished run’s student is taken, teaches itself, and starts another', async () => {
  const settings = {
    ...SMALL,
    student_layers: 1,
    prompt: 'A | whale',
    alpha: 0.5,
  };
  const { page, problems, site } = shared;
  await follow(page, link(settings));
  expect(await button(page, 'Download student').count()).toBe(0);
  await run(page);

  const { name, path } = await take(page);
  expect(name).toBe(`${NAME}.zip`);
  await eventually(() => said(page)).toMatch(
    /4-steps\.zip, [\d.]+ [kM]B\. Drop it on the teacher or student field/,
  );
  const zip = zipSource(name, new Blob([readFileSync(path)]));
  expect(await readJson(zip, 'config.json')).toMatchObject({
    n_layer: 1,
    n_embd: 64,
    n_positions: 16,
    vocab_size: 1024,
  });
  const tensors = readSafetensors(await zip.read('model.safetensors'), 'model.safetensors');
  expect(tensors.get('transformer.wte.weight')).toMatchObject({ dtype: 'F32', shape: [1024, 64] });
  for (const file of [
    'tokenizer.json',
    'tokenizer_config.json',
    'onnx/model.onnx',
    'onnx/model_fp16.onnx',
  ]) {
    expect((await zip.read(file)).length, file).toBeGreaterThan(100);
  }
  const card = new TextDecoder().decode(await zip.read('README.md'));
  const evaluations = (await logLines(page)).flatMap(
    (line) => /^Step (\d+): Loss=[^,]+, PPL=([\d.,]+), /.exec(line)?.[2] ?? [],
  );
  expect(evaluations.length).toBe(3);
  for (const perplexity of evaluations) expect(card).toContain(`| ${perplexity} |`);
  const url = new URL(/<(http[^>]+)>/.exec(card)?.[1] ?? '');
  expect(url.href.startsWith(site.url)).toBe(true);
  expect(parseLink(url.hash)).toEqual({ config: { ...DEFAULTS, ...settings } });
  expect(card).toContain('| `prompt` | `A \\| whale` | `The whale` |');
  expect(card).toContain('after step 4 of 4');

  // What PyTorch needs to train the same run: from its start, and from where it stands.
  const recipe = await take(page, 'Take the recipe');
  expect(recipe.name).toBe(`recipe-${NAME}.zip`);
  await eventually(() => said(page)).toContain('Its README.md says how to run it.');
  const taken = await zipFiles(recipe.name, new Blob([readFileSync(recipe.path)]));
  const content = async (file: string) => {
    const read = taken.get(`recipe-${NAME}/${file}`);
    expect(read, file).toBeDefined();
    return new Uint8Array((await (await read?.())?.arrayBuffer()) ?? []);
  };
  const json = async (file: string) => JSON.parse(new TextDecoder().decode(await content(file)));
  expect(await json('settings.json')).toEqual({ ...DEFAULTS, ...settings });
  expect(await json('checkpoint/state.json')).toEqual({ step: 4, applied: 4 });
  for (const file of ['distill.py', 'student/model.safetensors', 'teacher/model.safetensors'])
    expect((await content(file)).length, file).toBeGreaterThan(1000);
  const now = readSafetensors(await content('checkpoint/model.safetensors'), 'the checkpoint');
  const [a, b] = [tensors, now].map((each) => each.get('transformer.wte.weight')?.data);
  expect(Buffer.compare(a as Uint8Array, b as Uint8Array)).toBe(0);

  // The same .zip for both: what is taught is known already.
  await unfoldModels(page);
  const upload = { name, mimeType: 'application/zip', buffer: readFileSync(path) };
  await page.getByLabel('Teacher .zip').setInputFiles(upload);
  await eventually(() => found(page)).toMatch(
    /1[\d.]+k parameters in 1 layer, .* Stillhouse’s kernels support it/,
  );
  const transfer = await page.evaluateHandle(
    ([name, base64]) => {
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name));
      return transfer;
    },
    [name, upload.buffer.toString('base64')],
  );
  await page.locator('.model-field').nth(1).dispatchEvent('drop', { dataTransfer: transfer });
  await eventually(() =>
    page.getByTestId('field-student_model').locator('input').inputValue(),
  ).toBe('files');
  await set(page, 'model_dtype', 'float32');
  await run(page);
  const rows = await page.getByTestId('log').locator('li').allInnerTexts();
  expect(rows.filter((line) => line.startsWith('Stopped'))).toEqual([]);
  const again = await take(page);
  expect(again.name).toBe('gpt2-1x64-from-own-files-4-steps.zip');
  const second = zipSource(again.name, new Blob([readFileSync(again.path)]));
  const first =
    new TextDecoder()
      .decode(await second.read('README.md'))
      .match(/^\| 0 \| .*$/m)?.[0]
      .split(' | ') ?? [];
  // Step 0: KL, agreement.
  expect(Number(first[3])).toBeLessThan(1e-5);
  expect(first[4]).toBe('100.0%');
  expect(problems).toEqual([]);
});

test('a paused run’s student is taken in float16, and the run goes on', async () => {
  const settings = {
    ...SMALL,
    train_steps: 5000,
    eval_steps: 5000,
    student_layers: 1,
  };
  const { page, problems } = shared;
  await follow(page, link(settings));
  await pauseAfter(page, 0);
  await primary(page).click();
  await offered(page, 'Continue');
  await page.getByLabel('Weight precision').selectOption('float16');
  const { name, path } = await take(page);
  expect(name).toMatch(/^gpt2-1x64-from-moby-teacher-\d+-steps?\.zip$/);
  const zip = zipSource(name, new Blob([readFileSync(path)]));
  expect(await readJson(zip, 'config.json')).toMatchObject({ torch_dtype: 'float16' });
  const tensors = readSafetensors(await zip.read('model.safetensors'), 'model.safetensors');
  expect(new Set([...tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(['F16']));
  await primary(page).click();
  await offered(page, 'Pause');
  await button(page, 'Reset').click();
  expect(problems).toEqual([]);
});

test('a file that is no .zip or has no model is refused by name; the page continues', async () => {
  const { page } = shared;
  await follow(page, link({ ...SMALL, student_layers: 1 }));
  await unfoldModels(page);
  const drop = (buffer: Buffer) =>
    page
      .getByLabel('Teacher .zip')
      .setInputFiles({ name: 'odd.zip', mimeType: 'application/zip', buffer });
  await drop(Buffer.from('<!doctype html>'));
  await eventually(async () => await page.locator('.model-field').first().innerText()).toContain(
    'odd.zip: 15 bytes without the end of a .zip: incomplete, or not a .zip.',
  );
  await offered(page, 'Distil');
  await primary(page).click();
  await eventually(() => notices(page)).toContain('odd.zip: 15 bytes without the end of a .zip');
  await set(page, 'teacher_model', 'moby-teacher');
  await run(page, 'Try again');
});
