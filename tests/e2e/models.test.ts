// Models of the hub, dropped folders and students that start from weights, in the browser. The hub
// is a server of this machine that stands in for huggingface.co: the page knows no other.

import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { joinPieces } from '../../src/files/pieces';
import { readSafetensors } from '../../src/files/safetensors';
import { parseConfig } from '../../src/model/families';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { initialWeights } from '../../src/model/parameters';
import { loadWeights, saveWeights } from '../../src/model/weights';
import { Random } from '../../src/tensor/random';
import { publish } from '../hub-models';
import { type Hub, serveHub } from '../hub-server';
import { withRoundedProduct } from '../onnx-rounded';
import {
  button,
  eventually,
  follow,
  go,
  link,
  logLines,
  notices,
  offered,
  primary,
  run,
  set,
} from './drive';
import { sharedVisit, type Visit, visit } from './harness';

const SMALL = {
  batch_size: 2,
  max_length: 16,
  train_steps: 2,
  eval_batches: 1,
  sample_tokens: 2,
  student_layers: 1,
};
const FOLDER = 'public/models/moby-teacher';
const WEIGHTS = 'org/moby@main/model.safetensors';
const STUDENT: Gpt2Config = {
  vocab_size: 1024,
  n_positions: 32,
  n_embd: 32,
  n_layer: 1,
  n_head: 2,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
};

/** What the browser itself says of graphs and chat templates that a folder does not have. */
const expected = /onnx|jinja|404/;
const shared = sharedVisit({ offer: 'f16', prepare: answerHub, expected });
let hub: Hub;
let moby: Map<string, Uint8Array>;
beforeAll(async () => {
  hub = await serveHub();
  const names = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];
  moby = new Map(
    await Promise.all(
      names.map(async (name) => [name, await readFile(`${FOLDER}/${name}`)] as const),
    ),
  );
  const architecture = parseConfig(JSON.parse(`${moby.get('config.json')}`));
  const tensors = readSafetensors(moby.get('model.safetensors')!, 'model.safetensors');
  const weights = loadWeights(tensors, architecture, 'model.safetensors');
  moby.set('onnx/model.onnx', joinPieces(architecture.onnxPieces('f32', false), weights));
});
// The second try of a test, too, finds only what it publishes.
beforeEach(() => {
  hub.files.clear();
  hub.faults.clear();
  hub.requests.length = 0;
});
afterAll(() => hub.close());

function publishMoby(...without: string[]): void {
  hub.faults.clear();
  publish(hub, 'org/moby', new Map([...moby].filter(([name]) => !without.includes(name))));
}

function publishStudent(config: Gpt2Config): void {
  const model = gpt2(config);
  const json = new TextEncoder().encode(JSON.stringify(model.formatConfig('float16')));
  const weights = saveWeights(model, initialWeights(model.parameters, new Random(1)), 'F16');
  const own = [...moby].filter(([name]) => name.startsWith('tokenizer'));
  publish(hub, 'small', new Map([['config.json', json], ['model.safetensors', weights], ...own]));
}

/** Answers the page's requests to huggingface.co from the test hub. */
async function answerHub(page: Page): Promise<void> {
  await page.context().route('https://huggingface.co/**', async (route) => {
    const request = route.request();
    const { pathname } = new URL(request.url());
    try {
      const { range } = request.headers();
      const answer = await fetch(hub.url + pathname, {
        method: request.method(),
        headers: range ? { range } : {},
      });
      const headers = Object.fromEntries(answer.headers);
      await route.fulfill({
        status: answer.status,
        headers,
        body: Buffer.from(await answer.arrayBuffer()),
      });
    } catch {
      await route.abort('connectionreset').catch(() => {});
    }
  });
}

/** The page that the tests share, with these settings and nothing kept of the hub's models. */
async function open(settings: Record<string, string | number>): Promise<Visit> {
  const { page } = shared;
  await page.evaluate(async () => {
    for (const name of await caches.keys()) await caches.delete(name);
  });
  await follow(page, link({ ...SMALL, ...settings }));
  return shared;
}

async function unfold(page: Page): Promise<void> {
  const fold = page.locator('details.fold', { has: page.getByTestId('field-teacher_model') });
  if ((await fold.getAttribute('open')) === null) await fold.locator('summary').first().click();
}

/** What is said of models that are looked up. */
const found = async (page: Page) =>
  (await page.locator('.model-report').allInnerTexts()).join('\n');

async function distil(page: Page, label?: string): Promise<void> {
  await run(page, label);
  expect((await logLines(page)).at(-1)).toMatch(
    /^Step 2: Loss=\d+\.\d{4}, PPL=[\d.,]+, Success=1\.000/,
  );
}

test('a model of the hub says what it is, teaches, and is kept for the next visit', async () => {
  publishMoby('onnx/model.onnx');
  const { page, problems } = await open({ teacher_model: 'org/moby' });
  await unfold(page);
  hub.requests.length = 0;
  await button(page, 'Look up the teacher').click();
  await eventually(() => found(page)).toContain('1.42M parameters in 4 layers, 2.8 MB to load.');
  expect(await found(page)).toContain(
    'Vocabulary of 1,024 tokens, context of up to 128. Stillhouse’s kernels support it.',
  );
  await distil(page);
  const asked = new Set(hub.requests.map((line) => line.split('/').at(-1)?.split(' ')[0]));
  // Whether there is a graph to try, or a chat template, is asked, too.
  expect([...asked].filter((name) => !name?.endsWith('.onnx')).sort()).toEqual([
    'chat_template.jinja',
    'config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ]);
  await eventually(() =>
    page.evaluate(async () => (await (await caches.open('stillhouse-models')).keys()).length),
  ).toBe(5);

  // Bytes that no run survives: what teaches now is what was kept.
  for (const path of hub.files.keys()) hub.faults.set(path, { kind: 'garbled' });
  await page.reload();
  await distil(page);
  expect(problems).toEqual([]);
});

test('a student starts from teacher layers or a checkpoint with the same tokens', async () => {
  publishMoby();
  publishStudent(STUDENT);
  const { page, problems } = await open({
    teacher_model: 'moby-teacher',
    student_model: 'teacher',
    student_from_layers: '0,3',
  });
  await distil(page);
  expect(await page.locator('.model.student').innerText()).toContain('layers 0, 3');

  await unfold(page);
  await set(page, 'student_from_layers', '0,4');
  await primary(page).click();
  await eventually(() => notices(page)).toContain(
    'the teacher has no layer 4. Its 4 layers are 0 to 3.',
  );

  await set(page, 'student_from_layers', '');
  await set(page, 'student_model', 'small');
  await distil(page, 'Try again');
  expect(await page.locator('.model.student').innerText()).toContain('small');

  publishStudent({ ...STUDENT, vocab_size: 1100 });
  await set(page, 'student_model', 'small@main');
  hub.requests.length = 0;
  await button(page, 'Look up the student').click();
  await eventually(() => page.locator('.model-field').nth(1).innerText()).toContain(
    'The student small@main has 1,100 tokens, the teacher moby-teacher 1,024.',
  );
  await offered(page, 'Distil');
  await primary(page).click();
  await eventually(() => notices(page)).toContain(
    'The student small@main has 1,100 tokens, the teacher moby-teacher 1,024.',
  );
  // Not a byte of its weights was read.
  expect(hub.requests.filter((line) => line.includes('safetensors'))).toEqual([]);
  expect(problems).toEqual([]);
});

test('a folder of one’s own is read in the page, and nothing of it leaves', async () => {
  const { page, problems } = await open({ teacher_model: 'moby-teacher' });
  await unfold(page);
  await page.getByLabel('Teacher folder').setInputFiles(FOLDER);
  await eventually(() => found(page)).toContain('1.42M parameters in 4 layers');
  hub.requests.length = 0;
  shared.site.requests.length = 0;
  await distil(page);
  expect(hub.requests).toEqual([]);
  expect(shared.site.requests.filter((path) => path.startsWith('models/'))).toEqual([]);
  expect(new URL(page.url()).hash).toContain('teacher_model=files');

  // The address names files, and brings none.
  await page.reload();
  await offered(page, 'Distil, disabled');
  expect(await page.locator('.run-controls').innerText()).toContain(
    'Drop the teacher’s folder or .zip on the teacher field first.',
  );
  expect(problems).toEqual([]);
});

test('a link names models of the page and of the hub, and nothing else', async () => {
  const { page } = await open({});
  for (const model of [
    'https://example.com/model',
    '//example.com/model',
    '../../model',
    'org/name?x=1',
  ]) {
    await go(page, link({ teacher_model: model }));
    await eventually(() => notices(page)).toContain(
      'It must be austen-teacher, moby-teacher, sorting-teacher, files, or a Hugging Face model',
    );
    expect(
      await page.getByTestId('field-teacher_model').locator('input[type=text]').inputValue(),
    ).toBe('moby-teacher');
    await button(page, 'Dismiss').click();
  }
});

test('a download that never comes can be stopped, and started again', async () => {
  publishMoby();
  hub.faults.set('org/moby@main/config.json', { kind: 'silent' });
  const { page } = await open({ teacher_model: 'org/moby' });
  await primary(page).click();
  await offered(page, 'Stop loading');
  await eventually(() => page.locator('.progress-detail').innerText()).toContain(
    'config.json of org/moby',
  );
  await primary(page).click();
  await offered(page, 'Distil');
  publishMoby();
  await distil(page);
});

test('what goes wrong with the hub is said, and the next try succeeds', async () => {
  publishMoby('onnx/model.onnx');
  const { page } = await open({ teacher_model: 'org/moby' });
  const half = 1_900_000;
  const wrong: [() => void, RegExp][] = [
    [
      () => hub.files.clear(),
      /config\.json of org\/moby: the hub has no such public model \(HTTP 401\)/,
    ],
    [() => hub.files.delete(WEIGHTS), /org\/moby has no model\.safetensors/],
    [() => hub.faults.set(WEIGHTS, { kind: 'html' }), /org\/moby has no model\.safetensors/],
    [
      () => hub.files.set(WEIGHTS, moby.get('model.safetensors')!.subarray(0, half)),
      /is 1,900,000 of 2,[\d,]+ bytes long/,
    ],
    [() => hub.files.set(WEIGHTS, new Uint8Array(half).fill(255)), /its header says [\d,]+ bytes/],
    [() => hub.faults.set(WEIGHTS, { kind: 'status', status: 503 }), /HTTP 503.*\(tried 5 times\)/],
  ];
  let label = 'Distil';
  for (const [happen, said] of wrong) {
    happen();
    await offered(page, label);
    await primary(page).click();
    await eventually(() => notices(page), String(said)).toMatch(said);
    label = 'Try again';
    await offered(page, label);
    publishMoby('onnx/model.onnx');
  }
  await distil(page, label);
});

test('without float16 a folder with 4 and 8 bits in ONNX alone runs in onnxruntime', async () => {
  // A small one: SwiftShader and onnxruntime together are slow.
  const model = gpt2(STUDENT);
  const weights = initialWeights(model.parameters, new Random(1));
  const json = new TextEncoder().encode(JSON.stringify(model.formatConfig('float32')));
  const own = [...moby].filter(([name]) => name.startsWith('tokenizer'));
  const graph = joinPieces(model.onnxPieces('f32', false), weights);
  const four = withRoundedProduct(graph, 'h.0.attn.c_attn.product', 4, 'f32').packed;
  const both = withRoundedProduct(four, 'h.0.mlp.c_proj.product', 8, 'f32').packed;
  const file = ['onnx/model_q4.onnx', both] as const;
  publish(hub, 'org/graph', new Map([['config.json', json], file, ...own]));
  const path = link({ ...SMALL, teacher_model: 'org/graph', teacher_dtype: 'q4' });
  const { page, problems, close } = await visit(shared.site, {
    offer: 'f32',
    path,
    prepare: answerHub,
    expected,
  });
  await unfold(page);
  await button(page, 'Look up the teacher').click();
  await eventually(() => found(page)).toContain('Runs in onnxruntime.');
  await distil(page);
  expect(problems).toEqual([]);
  await close();
});
