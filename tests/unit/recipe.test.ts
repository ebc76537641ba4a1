// The recipe for PyTorch: what its files hold, and the order of the data that its README.md
// specifies. tests/python runs it.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compareRuns } from '../../src/cli/compare-runs';
import { DiskStorage } from '../../src/cli/disk-storage';
import { parseFlags } from '../../src/cli/flags';
import { packFile } from '../../src/cli/run-file';
import { type Config, DEFAULTS } from '../../src/config';
import { Batches } from '../../src/data/batches';
import { prepareData } from '../../src/distill/data';
import type { StudentFile } from '../../src/distill/export/export';
import distill from '../../src/distill/recipe/distill.py?raw';
import models from '../../src/distill/recipe/models.py?raw';
import { type Ingredients, writeRecipe } from '../../src/distill/recipe/recipe';
import stillhouse from '../../src/distill/recipe/stillhouse.py?raw';
import { startingWeights } from '../../src/distill/run-setup';
import { DIVERGENCE_NAMES } from '../../src/divergences';
import { ExportError } from '../../src/files/pieces';
import { readSafetensors } from '../../src/files/safetensors';
import { filesSource } from '../../src/files/source';
import { SCALER } from '../../src/kernels/sources';
import { withAdapters } from '../../src/model/lora';
import { planArena } from '../../src/model/parameters';
import { loadWeights } from '../../src/model/weights';
import { parseJournal } from '../../src/runs/journal';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { nameOf } from '../../src/runs/names';
import { rowOf } from '../../src/runs/row';
import { openRunFile, unpackRun } from '../../src/runs/run-file';
import { Random } from '../../src/tensor/random';
import { goldenModel, modelFiles } from '../hub-models';

const { architecture, ...stored } = goldenModel('student');
const FILES = modelFiles(stored);
const config: Config = { ...DEFAULTS, batch_size: 3, max_length: 4, seed: 7, train_steps: 9 };
const documents = [{ ids: Uint32Array.from({ length: 500 }, (_, i) => (i * i) % 50) }];
const data = prepareData(documents, config);
const weights = startingWeights(config, architecture) as ReadonlyMap<string, Float32Array>;
const origin: Parameters<typeof writeRecipe>[1] = {
  teacher: sourceOf(FILES),
  tokenizer: { files: new Map([['tokenizer.json', Uint8Array.of(123, 125)]]), endOfText: 0 },
  corpus: { name: 'corpus/moby-dick.txt', own: false, sha256: 'ab12' },
};

function sourceOf(files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>) {
  return filesSource(new Map([...files].map(([name, bytes]) => [name, new Blob([bytes])])));
}

async function recipeOf(change: Partial<Ingredients> = {}, from: Partial<typeof origin> = {}) {
  const run = { config, student: architecture, weights, data, ...change };
  const { name, files } = await writeRecipe(run, { ...origin, ...from });
  const read = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const file of files) read.set(file.name, await bytesOf(file));
  return {
    name,
    files: read,
    json: (file: string) => JSON.parse(new TextDecoder().decode(read.get(file))),
    text: (file: string) => new TextDecoder().decode(read.get(file)),
    tensors: (file: string) => readSafetensors(read.get(file) as Uint8Array<ArrayBuffer>, file),
  };
}

async function bytesOf({ bytes, chunks }: StudentFile): Promise<Uint8Array<ArrayBuffer>> {
  const parts: BlobPart[] = [];
  for await (const chunk of chunks()) parts.push(chunk);
  const whole = new Uint8Array(await new Blob(parts).arrayBuffer());
  expect(whole.length).toBe(bytes);
  return whole;
}

describe('the order of the data', () => {
  // Computed by stillhouse.py, which was written from the words in readme.md: 50 tokens make 11
  // windows, so batch 3 spans two epochs.
  test('is the one that the README specifies', () => {
    const random = new Random(7);
    const batches = new Batches({
      tokens: new Uint32Array(50),
      batchSize: 3,
      contextLength: 4,
      randomOf: (epoch) => {
        const stream = random.fork(`epoch ${epoch}`);
        return () => stream.uniform();
      },
    });
    expect([0, 3, 4, 9].map((index) => batches.starts(index))).toEqual([
      [43, 11, 31],
      [39, 23, 31],
      [35, 23, 19],
      [11, 39, 23],
    ]);
    const draws = new Random(1).fork('epoch 0');
    expect([1, 2, 3].map(() => draws.uniform() * 2 ** 32)).toEqual([
      1882103463, 1517608586, 2687200382,
    ]);
  });

  test('is in recipe.json as places in the text, which a batch reads', async () => {
    const { order } = (await recipeOf()).json('recipe.json');
    expect(order.of).toEqual([3, 4, 7, 'on']);
    for (const [index, starts] of order.starts.entries()) {
      const { inputs } = data.batches.at(index);
      for (const [row, start] of starts.entries())
        expect(inputs.slice(row * 4, row * 4 + 4)).toEqual(
          data.joined.train.ids.slice(start, start + 4),
        );
    }
  });
});

test('a run that has not begun: settings, tokens, both models, and no checkpoint', async () => {
  const recipe = await recipeOf();
  expect([...recipe.files.keys()].sort()).toEqual([
    'README.md',
    'accelerate.yaml',
    'distill.py',
    'models.py',
    'recipe.json',
    'requirements.txt',
    'settings.json',
    'stillhouse.py',
    'student/config.json',
    'student/model.safetensors',
    'student/tokenizer.json',
    'teacher/config.json',
    'teacher/model.safetensors',
    'tokens.safetensors',
  ]);
  expect(recipe.json('settings.json')).toEqual(config);
  const { train, heldOut } = data.joined;
  const tokens = recipe.tensors('tokens.safetensors');
  const ids = (name: string) => new Uint32Array(tokens.get(name)?.data.slice().buffer ?? []);
  expect([ids('train.tokens'), ids('held_out.tokens')]).toEqual([train.ids, heldOut.ids.slice()]);
  expect([...tokens.keys()].filter((name) => name.endsWith('.learned'))).toEqual([]);
  const file = 'student/model.safetensors';
  for (const [name, values] of loadWeights(recipe.tensors(file), architecture, file))
    expect(values.every((value, i) => value === weights.get(name)?.[i])).toBe(true);
  const copy = recipe.files.get('teacher/model.safetensors') as Uint8Array;
  expect(Buffer.compare(copy, FILES.get('model.safetensors') as Uint8Array)).toBe(0);
  expect(recipe.json('recipe.json')).toMatchObject({
    student: { folder: 'student' },
    teacher: { folder: 'teacher' },
    vocabulary: architecture.vocabularySize,
    link: '#v=1&train_steps=9&batch_size=3&max_length=4&seed=7',
  });
  expect(recipe.json('recipe.json').choices.loss).toEqual(['mixed', 'ce', ...DIVERGENCE_NAMES]);
  expect(recipe.text('README.md')).not.toMatch(/\{\{|undefined|--resume checkpoint/);
  expect(recipe.text('requirements.txt')).toMatch(/^(\w+==[\d.]+\n)+$/);
});

test('a run that trains: its weights and moments by the names of transformers', async () => {
  const plan = planArena(architecture.parameters);
  const arrays = [1, 2, 3].map((value) => {
    const array = new Float32Array(plan.count).fill(Number.NaN);
    for (const { first, size } of plan.tensors.values()) array.fill(value, first, first + size);
    return array.buffer;
  });
  const scaler = SCALER.write({ ...SCALER.read(new ArrayBuffer(SCALER.bytes)), applied: 5 });
  const [master, mean, square] = arrays;
  const recipe = await recipeOf({ snapshot: { step: 6, master, mean, square, scaler } });
  expect(recipe.json('checkpoint/state.json')).toEqual({ step: 6, applied: 5 });
  for (const [i, name] of ['model', 'mean', 'square'].entries()) {
    const file = `checkpoint/${name}.safetensors`;
    const tensors = loadWeights(recipe.tensors(file), architecture, file);
    expect(new Set([...tensors.values()].flatMap((values) => [...values]))).toEqual(
      new Set([i + 1]),
    );
  }
  expect(recipe.text('README.md')).toContain(
    'python distill.py --output_dir out --resume checkpoint',
  );
});

test('a student of adapters: the frozen model, and the adapters by the names of PEFT', async () => {
  const adapted = withAdapters(architecture, { rank: 2, alpha: 4, targets: 'c_attn' });
  const { count } = planArena(adapted.adapters?.parameters ?? []);
  const array = new Float32Array(count).fill(1).buffer;
  const [master, mean, square] = [array, array, array];
  const scaler = SCALER.write({ ...SCALER.read(new ArrayBuffer(SCALER.bytes)), applied: 1 });
  const recipe = await recipeOf({
    student: adapted,
    config: { ...config, student_model: 'teacher', student_from_layers: '0', lora_rank: 2 },
    snapshot: { step: 1, master, mean, square, scaler },
  });
  expect(recipe.json('recipe.json').student).toEqual({ folder: 'student' });
  expect(recipe.files.has('student/model.safetensors')).toBe(true);
  const files = [...recipe.files.keys()].filter((file) => /^(adapter|checkpoint)/.test(file));
  expect(files.sort()).toEqual([
    'adapter/adapter_config.json',
    'adapter/adapter_model.safetensors',
    'checkpoint/adapter_config.json',
    'checkpoint/adapter_model.safetensors',
    'checkpoint/mean.safetensors',
    'checkpoint/square.safetensors',
    'checkpoint/state.json',
  ]);
  const name = 'base_model.model.transformer.h.0.attn.c_attn.lora_A.weight';
  for (const file of [files[1], ...files.slice(3, 6)])
    expect(recipe.tensors(file).get(name)?.shape).toEqual([2, architecture.width]);
  expect(recipe.json('adapter/adapter_config.json')).toMatchObject({ r: 2, lora_alpha: 4 });
  expect(recipe.text('requirements.txt')).toMatch(/^peft==/m);
  expect(recipe.text('README.md')).toContain('its LoRA adapters train');
});

test('models of the hub are named with their commit, not copied', async () => {
  const hub = { ...config, teacher_model: 'org/teacher', student_model: 'org/student@v1' };
  const recipe = await recipeOf({ config: hub }, { revisions: { teacher: 'abc123' } });
  expect(recipe.json('recipe.json')).toMatchObject({
    teacher: { id: 'org/teacher', revision: 'abc123' },
    student: { id: 'org/student', revision: 'v1' },
  });
  const copied = [...recipe.files.keys()].filter((file) => file.endsWith('model.safetensors'));
  expect(copied).toEqual([]);
  expect(recipe.text('README.md')).toContain('org/teacher at abc123');
});

test('a teacher without safetensors is refused', async () => {
  const teacher = sourceOf(
    new Map([['config.json', FILES.get('config.json') as Uint8Array<ArrayBuffer>]]),
  );
  await expect(recipeOf({}, { teacher })).rejects.toThrow(ExportError);
});

test('rows of one document and tokens that do not count are in the file of tokens', async () => {
  const chat = [40, 60, 90].map((length) => ({
    ids: Uint32Array.from({ length }, (_, i) => (i * length) % 50),
    learned: Uint8Array.from({ length }, (_, i) => Number(i % 3 > 0)),
  }));
  const alone = { ...config, packing: 'off' } as const;
  const run = { config: alone, data: prepareData(chat, alone) };
  const tokens = (await recipeOf(run)).tensors('tokens.safetensors');
  const values = (name: string) => Array.from(tokens.get(name)?.data ?? []);
  const ints = (name: string) => [...new Int32Array(Uint8Array.from(values(name)).buffer)];
  const { train } = run.data.joined;
  expect(ints('train.tokens')).toEqual([...train.ids]);
  expect(ints('train.documents')).toEqual(train.documents);
  expect(values('train.learned')).toEqual([...(train.learned ?? [])]);
  expect(ints('held_out.documents')).toEqual([0]);
  expect(values('held_out.learned')).toHaveLength(ints('held_out.tokens').length);
});

test('every setting is read by Python, or is none of its flags', () => {
  const [, fixed = ''] = /FIXED = \(([^)]*)\)/.exec(distill) ?? [];
  const program = distill.replace(fixed, '') + models + stillhouse;
  for (const name of Object.keys(DEFAULTS)) {
    const isRead = new RegExp(`\\bs\\.${name}\\b`).test(program);
    expect([name, isRead]).toEqual([name, !new RegExp(`\\b${name}\\b`).test(fixed)]);
  }
});

test('every divergence has a formula in Python, and TRL’s own have a script for it', async () => {
  for (const name of DIVERGENCE_NAMES) {
    expect(stillhouse).toMatch(new RegExp(`^    "${name}": `, 'm'));
    const { files, text } = await recipeOf({ config: { ...config, loss: name } });
    const known = ['fkl', 'rkl', 'jsd'].includes(name);
    expect([files.has('gkd.py'), text('README.md').includes('python gkd.py')]).toEqual([
      known,
      known,
    ]);
  }
});

test('the flag takes the place of training, and needs no output folder', () => {
  expect(parseFlags(['--recipe', 'there'])).toMatchObject({ recipe: 'there' });
  expect(parseFlags(['--recipe', 'there', '--dry-run'])).toEqual({
    problems: ['--recipe, --import and --dry-run each replace the training. Give only one.'],
  });
  expect(parseFlags(['--recipe', 'a', '--output_dir', 'b', '--sweep', 'seed=1,2'])).toEqual({
    problems: ['--recipe is for one run. Leave it out of a sweep.'],
  });
});

describe('what distill.py measured comes back', () => {
  const line = (type: string, record: object) => `${JSON.stringify({ type, ...record })}\n`;
  const head = {
    version: 2,
    time: '2026-11-26T22:10:00+00:00',
    id: '20261126-221000-abc123',
    link: '',
    config: { ...config, train_steps: 2 },
    adapter: { name: 'NVIDIA H100 × 8, PyTorch 2.13.0' },
    dtype: 'f32',
    student: {},
    engine: 'PyTorch',
    data: { name: 'a.txt', own: true, sha256: 'ab' },
  };
  const tried = { tried: 2, succeeded: 2, failed: 0, tokens: 24 };
  const figures = { ...tried, studentPerplexity: 50.5, teacherPerplexity: 40, kl: 0.25 };
  const taken = { kd: null, lossScale: 1, applied: true, tokens: 12 };
  const records =
    line('config', head) +
    line('evaluation', { step: 0, ...figures }) +
    line('step', { step: 1, loss: 3, ce: 3, ...taken, seconds: 1 }) +
    line('step', { step: 2, loss: 2.5, ce: 2.5, ...taken, seconds: 2 }) +
    line('timing', { step: 2, seconds: 2 }) +
    line('evaluation', { step: 2, ...figures });

  test('as a run of the page’s table', async () => {
    const storage = new MemoryStorage();
    const packed = await openRunFile('out/metrics.jsonl', new Blob([records]));
    await unpackRun(packed, storage, head.id);
    const journal = parseJournal(
      new TextDecoder().decode(storage.files.get(`${head.id}/metrics.jsonl`)),
    );
    expect(rowOf(head.id, journal, {}, { bytes: 1, spareBytes: 0, open: false })).toMatchObject({
      state: 'finished',
      perplexity: 50.5,
      kl: 0.25,
      tokensPerSecond: 12,
      adapter: head.adapter.name,
      curve: [3, 2.5],
    });
    await expect(openRunFile('data.jsonl', new Blob(['{"text":"a"}\n']))).rejects.toThrow(
      'data.jsonl does not begin with a run’s settings',
    );
  });

  test('side by side on the command line, and as a file for the page', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'stillhouse-import-'));
    try {
      for (const [name, alpha] of [
        ['a', 0.7],
        ['b', 0.5],
      ] as const) {
        mkdirSync(join(folder, name));
        const text = records.replace('"alpha":0.7', `"alpha":${alpha}`);
        writeFileSync(join(folder, name, 'metrics.jsonl'), text);
      }
      const lines = await compareRuns([join(folder, 'a'), join(folder, 'b')]);
      const name = nameOf(head.id);
      expect(lines).toHaveLength(4);
      expect(lines[1]).toContain('2 of 2  2.5000  50.50  40.00    0.2500  2.0');
      expect(lines[3]).toBe(`${name} against ${name}: α 0.7 → 0.5.`);
      await packFile(new DiskStorage(join(folder, 'b')), join(folder, 'b.zip'));
      const zip = new Blob([readFileSync(join(folder, 'b.zip'))]);
      expect((await openRunFile('b.zip', zip)).settings.config.alpha).toBe(0.5);
      await expect(compareRuns([folder])).rejects.toThrow(
        'has no metrics.jsonl. Give the --output_dir',
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
