// `npm run distill` as a process: exit codes, output, the files it writes, models from a hub, and
// an interrupted run that continues with the same bits.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DiskStorage } from '../../src/cli/disk-storage';
import { helpText } from '../../src/cli/flags';
import { DEFAULTS } from '../../src/config';
import type { Sample } from '../../src/distill/records';
import { openStudent } from '../../src/distill/student-start';
import { readSafetensors } from '../../src/files/safetensors';
import { filesSource } from '../../src/files/source';
import { parseConfig } from '../../src/model/families';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { initialWeights } from '../../src/model/parameters';
import { loadWeights } from '../../src/model/weights';
import { readNewest, writeCheckpoint } from '../../src/runs/checkpoint';
import type { ModelIdentities } from '../../src/runs/identity';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { openRunFile, packRun } from '../../src/runs/run-file';
import { Random } from '../../src/tensor/random';
import { modelFiles, publish } from '../hub-models';
import { type Hub, serveHub } from '../hub-server';

/** Small enough that starting takes longer than training. */
const TINY = args(
  '--batch_size 2 --max_length 16 --eval_batches 2 --sample_tokens 4 ' +
    '--student_layers 1 --student_width 16 --warmup_steps 0',
);
const PROGRAM = 'node_modules/.cache/stillhouse/distill/distill.js';

const folder = mkdtempSync(join(tmpdir(), 'stillhouse-cli-'));
const out = (name: string) => join(folder, name);
let hub: Hub;
let breaking: Promise<Result>;

beforeAll(async () => {
  hub = await serveHub();
  const built = await finished(spawn(process.execPath, ['src/cli/run.mjs', 'distill', '--help']));
  expect([built.code, built.output.trim()]).toEqual([0, helpText()]);
  publish(hub, 'org/teacher', await small());
  publish(hub, 'org/broken', await small());
  // This run waits longer and longer before it gives up; the other tests need not wait for it.
  hub.faults.set('org/broken@main/model.safetensors', { kind: 'cut', bytes: 0 });
  breaking = distil('broken', ...args('--train_steps 1 --teacher_model org/broken'), ...fromHub());
});
afterAll(async () => {
  await hub.close();
  rmSync(folder, { recursive: true, force: true });
});

function args(text: string): string[] {
  return text.split(' ');
}

const fromHub = () => ['--hub', hub.url, '--cache_dir', out('cache')];

interface Result {
  code: number | null;
  /** Both streams together, as in a terminal. */
  output: string;
}

function finished(
  child: ChildProcess,
  onOutput: (output: string) => void = () => {},
): Promise<Result> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (data) => {
      output += data;
      onOutput(output);
    });
  }
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })));
}

const start = (name: string, flags: string[]) =>
  spawn(process.execPath, [PROGRAM, '--output_dir', out(name), ...TINY, ...flags]);

const distil = (name: string, ...flags: string[]) => finished(start(name, flags));

/** A question and an answer to a line. */
const CHAT_TEMPLATE =
  "{% for message in messages %}{{ message.content + ('\\n' if message.role == 'user' else " +
  'eos_token) }}{% endfor %}';

/** A small GPT-2 with random weights, the built-in teacher's tokenizer and a chat template. */
async function small(): Promise<Map<string, Uint8Array>> {
  const config: Gpt2Config = {
    vocab_size: 1024,
    n_positions: 32,
    n_embd: 32,
    n_layer: 2,
    n_head: 2,
    layer_norm_epsilon: 1e-5,
    activation_function: 'gelu_new',
  };
  const files: Map<string, Uint8Array> = modelFiles({
    config,
    weights: initialWeights(gpt2(config).parameters, new Random(3)),
  });
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    files.set(name, await readFile(`public/models/moby-teacher/${name}`));
  }
  files.set('chat_template.jinja', new TextEncoder().encode(CHAT_TEMPLATE));
  return files;
}

/** Packs a run's folder, without what only the command line writes. */
async function savedByPage(name: string, file: string): Promise<void> {
  const [folder, storage] = [new DiskStorage(out(name)), new MemoryStorage()];
  const { facts, snapshot } = await readNewest(folder, '', expect.fail);
  const { places: _, ...known } = facts;
  await writeCheckpoint(storage, name, known, snapshot);
  const records = (await folder.read('metrics.jsonl')) as Uint8Array<ArrayBuffer>;
  await storage.write(`${name}/metrics.jsonl`, [records]);
  writeFileSync(file, new Uint8Array(await (await packRun(storage, name, name, '')).arrayBuffer()));
}

type Line = { type: string; step?: number; [name: string]: unknown };
const metricsOf = (name: string): Line[] =>
  readFileSync(join(out(name), 'metrics.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

const studentOf = (name: string) => readFileSync(join(out(name), 'model.safetensors'));

test('invalid flags exit with 2 before anything is written', async () => {
  const { code, output } = await distil('none', ...args('--alfa 0.5 --temperature 99'));
  expect(code).toBe(2);
  expect(output).toContain(
    '--alfa is not a flag. Did you mean --alpha?\n' +
      '--temperature is 99. It must be a number from 0.25 to 16.',
  );
  expect((await distil('none', '--resume')).output).toContain(
    'There is no checkpoint, so there is nothing to resume. Start without --resume.',
  );
  expect(() => metricsOf('none')).toThrow('ENOENT');
});

test('an interrupted and resumed run has the same bits as an uninterrupted one', async () => {
  const flags = args('--train_steps 24 --eval_steps 8 --lr_schedule cosine');
  const straight = await distil('straight', ...flags);
  expect([straight.code, straight.output]).toEqual([
    0,
    expect.stringContaining('GPU memory planned: '),
  ]);
  expect(straight.output).toMatch(
    /Step 24: Loss=\d\.\d{4}, PPL=\d+\.\d\d, Success=1\.000 \(2 of 2\), [\d,]+ tok\/s, 00:00 left/,
  );

  const child = start('halves', flags);
  const first = await finished(child, (output) => {
    if (!child.killed && output.includes('Step 8: ')) child.kill('SIGINT');
  });
  expect([first.code, first.output]).toEqual([
    130,
    expect.stringMatching(
      /Interrupted at step (\d+) of 24\. Use --resume --output_dir \S+ to continue from step \1\./,
    ),
  ]);
  expect((await distil('halves', ...flags)).output).toContain('Add --resume to continue its run');
  // As a page saves it, which knows no paths. No other flags: the checkpoint has the settings.
  const file = out('halves.run.zip');
  await savedByPage('halves', file);
  const second = await finished(
    spawn(process.execPath, [
      ...[PROGRAM, '--resume', file, '--output_dir', out('carried')],
      ...['--run_file', out('carried.run.zip')],
    ]),
  );
  expect([second.code, second.output]).toEqual([
    0,
    expect.stringMatching(/Continuing from step \d+\./),
  ]);
  expect(second.output).not.toContain('different bits');
  expect(second.output).toContain(`Wrote the run to ${out('carried.run.zip')}.`);
  const whole = await openRunFile('it', new Blob([readFileSync(out('carried.run.zip'))]));
  expect([...whole.files.keys()].sort()).toEqual([
    'checkpoint-16.bin',
    'checkpoint-24.bin',
    'metrics.jsonl',
  ]);

  expect(studentOf('carried').equals(studentOf('straight'))).toBe(true);
  const steps = (name: string) =>
    metricsOf(name)
      .filter(({ type }) => type === 'step')
      .map((record) => ({ ...record, seconds: 0 }));
  expect(steps('straight').map(({ step }) => step)).toEqual(
    Array.from({ length: 24 }, (_, i) => i + 1),
  );
  expect(steps('carried')).toEqual(steps('straight'));
  const evaluations = (name: string) =>
    metricsOf(name)
      .filter(({ type }) => type === 'evaluation')
      .map((record) => ({ ...record, milliseconds: 0 }));
  expect(evaluations('carried')).toEqual(evaluations('straight'));
  expect(evaluations('straight').map(({ step }) => step)).toEqual([0, 8, 16, 24]);
});

test('a dry run says what can be known, and writes nothing', async () => {
  const { code, output } = await distil('dry', ...args('--dry-run --student_lr 5e-6 --alpha 0.5'));
  expect(code, output).toBe(0);
  expect(output).toContain('GPU memory planned: ');
  expect(output).toMatch(/At least \d\d:\d\d: [\d.]+ TFLOP/);
  expect(output).toContain('A learning rate of 5.0e-6 is low for a new student');
  expect(() => metricsOf('dry')).toThrow('ENOENT');
});

test('a checkpoint with one flipped bit is refused, and the one before it serves', async () => {
  const path = join(out('carried'), 'checkpoint-24.bin');
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1] ^= 64;
  writeFileSync(path, bytes);
  rmSync(join(out('carried'), 'model.safetensors'));
  const { code, output } = await finished(
    spawn(process.execPath, [PROGRAM, '--resume', out('carried')]),
  );
  expect([code, output]).toEqual([0, expect.stringContaining('Continuing from step 16.')]);
  expect(output).toMatch(
    /checkpoint-24\.bin is damaged: the \w+ \w+ do not match their checksum\./,
  );
  expect(studentOf('carried').equals(studentOf('straight'))).toBe(true);
});

test('the metrics begin with the settings, and the planned memory is what was measured', () => {
  const [settings, memory] = metricsOf('straight');
  expect(settings).toMatchObject({
    type: 'config',
    config: { train_steps: 24, student_width: 16, alpha: 0.7 },
  });
  expect(settings.link).toMatch(/^#v=1&/);
  const { teacher } = settings.models as ModelIdentities;
  expect(teacher.reference).toBe('moby-teacher');
  // Every sample of its weights was read.
  expect(teacher.files?.['model.safetensors'].bytes).toBe(65_536);
  const { planned, measured } = memory as unknown as Record<string, Record<string, number>>;
  const sum = (totals: Record<string, number>) => Object.values(totals).reduce((a, b) => a + b);
  expect(Math.abs(sum(planned) / sum(measured) - 1)).toBeLessThan(0.02);
});

test('models come over a breaking connection, and texts from a table of questions', async () => {
  hub.faults.set('org/teacher@main/model.safetensors', { kind: 'cut', bytes: 70_000, times: 2 });
  const flags = args(
    '--teacher_model org/teacher --student_model teacher --student_from_layers 0 --train_steps 2',
  );
  const rows = Array.from(
    { length: 80 },
    (_, i) => `Where is whale ${i}?,"${i} leagues off, and sounding."`,
  );
  writeFileSync(out('talk.csv'), ['one,two', ...rows].join('\n'));
  const data = ['--data', out('talk.csv'), ...args('--format chat --column one two')];
  const { code, output } = await distil('hub', ...flags, ...data, ...fromHub());
  expect(code, output).toBe(0);
  expect(output).toContain('talk.csv: 80 documents');
  expect(output).toMatch(/ tokens \(loss on [4-7]\d\.\d% of them, said by the assistant\), /);
  expect(readFileSync(out('hub/chat_template.jinja'), 'utf8')).toBe(CHAT_TEMPLATE);
  expect(output).toContain('parameters learn from org/teacher');
  expect(studentOf('hub').length).toBeGreaterThan(100_000);
});

test('the student folder can be loaded and trained further; downloads are kept', async () => {
  const names = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];
  const files = new Map(
    [...names, 'onnx/model.onnx', 'onnx/model_fp16.onnx'].map((name) => [
      name,
      new Blob([new Uint8Array(readFileSync(join(out('straight'), name)))]),
    ]),
  );
  const source = filesSource(files);
  const settings = { ...DEFAULTS, student_model: 'files' };
  const student = await openStudent(
    settings,
    source,
    { vocabularySize: 1024, contextWindow: 128 },
    source,
  );
  expect(student?.architecture.config).toMatchObject({
    vocab_size: 1024,
    n_positions: 16,
    n_embd: 16,
    n_layer: 1,
    n_head: 2,
  });
  const config = parseConfig(student?.architecture.formatConfig('float32'));
  const weights = loadWeights(
    readSafetensors(studentOf('straight'), 'model.safetensors'),
    config,
    'it',
  );
  expect(weights.get('wte.weight')).toHaveLength(1024 * 16);

  const before = hub.requests.length;
  const flags = args('--teacher_model org/teacher --train_steps 1');
  const { code, output } = await distil(
    'again',
    '--student_model',
    out('straight'),
    ...flags,
    ...fromHub(),
  );
  expect(code, output).toBe(0);
  // Each file is requested only once, to see whether it has changed.
  const requests = hub.requests.slice(before).filter((request) => request.includes('org/teacher'));
  expect(requests.length).toBe(new Set(requests).size);
  expect(requests.every((request) => request.endsWith('bytes=0-'))).toBe(true);
  // It starts where the other ended.
  const perplexity = (name: string, step: number) =>
    metricsOf(name).find((line) => line.type === 'evaluation' && line.step === step)
      ?.studentPerplexity;
  expect(perplexity('again', 0)).toBe(perplexity('straight', 24));
});

test('npm run say continues the prompt with the tokens of the run’s last evaluation', async () => {
  const child = spawn(process.execPath, [
    ...['src/cli/run.mjs', 'say', out('straight'), 'The whale'],
    ...args('--tokens 4'),
  ]);
  let text = '';
  child.stdout.on('data', (data) => {
    text += data;
  });
  const { code, output } = await finished(child);
  expect(code, output).toBe(0);
  const [last] = metricsOf('straight')
    .filter(({ type }) => type === 'evaluation')
    .slice(-1);
  expect(text).toBe(`The whale${(last.sample as Sample).student}\n`);
});

test('a model that is missing, incomplete or does not fit exits with 1 and a hint', async () => {
  const { code, output } = await distil('missing', '--teacher_model', 'org/none', ...fromHub());
  expect([code, output]).toEqual([
    1,
    expect.stringContaining('the hub has no such public model (HTTP 401). Check the id'),
  ]);
  const long = await finished(
    spawn(process.execPath, [PROGRAM, '--output_dir', out('long'), '--max_length=512']),
  );
  expect([long.code, long.output]).toEqual([
    1,
    expect.stringContaining(
      "max_length=512 is longer than the teacher's 128 positions. Use a max_length of at most 128.",
    ),
  ]);
  const broken = await breaking;
  expect(broken.code).toBe(1);
  expect(broken.output).toMatch(/model\.safetensors of org\/broken .*tried 5 times.*[Tt]ry again/);
});

test('an evaluation without a valid batch exits with 1, and has no perplexity', async () => {
  const { code, output } = await distil('view', ...args('--train_steps 1 --eval_loss_path view'));
  expect(code).toBe(1);
  expect(output).toMatch(
    /Step 1: Loss=\d\.\d{4}, PPL=n\/a \(0 valid tokens\), Success=0\.000 \(0 of 2\)/,
  );
  expect(output).toContain('The first failed batch: view size is not compatible with input tensor');
  expect(output).toContain(
    'the student is trained, but the last evaluation has no valid token (0 of 2 batches succeeded)',
  );
  expect(studentOf('view').length).toBeGreaterThan(10_000);
  // The Doctor saw it coming, saw it happen, and says so at the end and in the metrics.
  expect(output).toMatch(/Doctor \(problem\): .* Every evaluation batch will fail/);
  expect(output).toMatch(
    /Doctor: Evaluation batches fail. 2 of 2 evaluation batches failed at step 1/,
  );
  expect(output).toContain('Try --eval_loss_path strided.');
  const verdicts = metricsOf('view').filter(({ type }) => type === 'verdict');
  expect(verdicts[0]).toMatchObject({ rule: 'evaluation-fails', severity: 'problem' });
});
