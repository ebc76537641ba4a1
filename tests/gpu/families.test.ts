// A second family of models (tests/tiny-family) goes through the engine's code: it trains,
// evaluates, samples, is saved and loaded. Only one row of the table of families names it.

import { readFile } from 'node:fs/promises';
import * as native from 'onnxruntime-native';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import { exportName, studentFiles } from '../../src/distill/export/export';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { Run } from '../../src/distill/run';
import { planMemory } from '../../src/distill/run-models';
import { openStudent } from '../../src/distill/student-start';
import { type FolderTokenizer, openTeacher, openTokenizer } from '../../src/distill/teacher/folder';
import { Trainer } from '../../src/distill/trainer';
import { filesSource, type ModelSource, readJson } from '../../src/files/source';
import type { Gpu } from '../../src/gpu/device';
import { Pool } from '../../src/gpu/program';
import { FAMILIES, parseConfig } from '../../src/model/families';
import { initialWeights } from '../../src/model/parameters';
import { saveWeights } from '../../src/model/weights';
import * as reference from '../../src/reference';
import { readNewest, writeCheckpoint } from '../../src/runs/checkpoint';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { Random } from '../../src/tensor/random';
import type { TinyConfig } from '../tiny-family/config';
import { TINY_FAMILY, tiny } from '../tiny-family/tiny';
import { tinyLogits } from '../tiny-family/twin';
import { openTestDevice } from './harness';
import { ADAM, batchOf, formulaLogits, formulaTeacher, LIVE, readTeacherLogits } from './students';
import { stored, testVariants } from './variants';

/** Sizes that no kernel's workgroup divides. */
const SMALL: TinyConfig = {
  model_type: 'tiny',
  vocab_size: 13,
  max_position_embeddings: 9,
  hidden_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  rms_norm_eps: 1e-6,
};
/** Relative norms, as in gradients.test.ts. */
const LIMIT = { f32: 1e-4, f16: 1e-2 };

for (const recompute of [false, true]) {
  testVariants(
    recompute
      ? 'with activations computed again, loss and gradients are still the slow twin’s'
      : 'loss and gradients are the slow twin’s',
    async (gpu, dtype) => {
      const [B, T] = [2, 5];
      const model = tiny(SMALL);
      const batch = batchOf(SMALL, B, T, 1, 1);
      // Weights that f16 holds, so that both storage types start from the same ones.
      const start = [...initialWeights(model.parameters, new Random(5))].map(
        ([name, values]) => [name, stored(values, 'f16')] as const,
      );
      const weights = new Map(start.map(([name, values]) => [name, Float32Array.from(values)]));
      const pool = new Pool(gpu);
      const teacher = formulaTeacher(gpu, SMALL, B, T, dtype);
      const records: StepRecord[] = [];
      const trainer = await Trainer.create(
        gpu,
        pool,
        {
          student: model,
          dtype,
          batchSize: B,
          contextLength: T,
          recompute,
          loss: { ...DEFAULTS, loss: 'mixed' },
          initialLossScale: 4096,
          adam: ADAM,
        },
        weights,
        teacher,
        (record) => records.push(record),
      );
      await trainer.step([batch], { ...LIVE, step: 1 });
      await trainer.drain();
      const gradients = await trainer.gradients.read();
      trainer.destroy();
      await teacher.dispose();
      pool.destroy();

      const twin = new Map(start.map(([name, values]) => [name, Float64Array.from(values)]));
      const V = SMALL.vocab_size;
      const teacherLogits = reference.contiguous(formulaLogits(batch.inputs, V), [B, T, V]);
      const targets = reference.contiguous(batch.targets, [B, T]);
      const loss = () => {
        const logits = tinyLogits(twin, SMALL, batch.inputs, B, T);
        const { temperature, alpha } = LIVE;
        return reference.distillationLoss(
          { kind: 'mixed', temperature, alpha },
          reference.contiguous(logits, [B, T, V]),
          teacherLogits,
          targets,
        ).loss;
      };
      const [{ loss: actual, lossScale }] = records;
      expect(reference.relativeError([actual], [loss()])).toBeLessThan(LIMIT[dtype]);
      for (const [name, values] of twin) {
        const expected = reference.finiteDifferences(values, loss);
        const gradient = (gradients.get(name) as Float32Array).map((g) => g / lossScale);
        expect(reference.relativeError(gradient, expected), name).toBeLessThan(LIMIT[dtype]);
      }
    },
    ['one lane'],
  );
}

const FOLDER = 'public/models/moby-teacher';
const TEXT =
  'Call me Ishmael. Some years ago, never mind how long precisely, ' +
  'having little or no money in my purse. ';
const [B, T] = [2, 16];
const CONFIG: Config = {
  ...DEFAULTS,
  student_model: 'teacher',
  student_from_layers: '1',
  model_dtype: 'float32',
  batch_size: B,
  max_length: T,
  train_steps: 20,
  student_lr: 0.01,
  eval_batches: 2,
  eval_steps: 10,
  sample_tokens: 6,
};

let gpu: Gpu;
let folder: ModelSource;
let tokenizer: FolderTokenizer;
let documents: Uint32Array[];
let inputs: Uint32Array<ArrayBuffer>;
let run: Run;
let records: StepRecord[];
let evaluations: EvaluationRecord[];

function sourceOf(files: Iterable<readonly [string, BlobPart]>): ModelSource {
  return filesSource(new Map([...files].map(([name, part]) => [name, new Blob([part])])));
}

async function begin(saved?: Run['snapshot']) {
  const opened = await openTeacher(folder, { f16: false, dtype: 'f32' });
  const records: StepRecord[] = [];
  const evaluations: EvaluationRecord[] = [];
  const run = await Run.create(
    {
      gpu,
      config: CONFIG,
      tokenizer,
      documents,
      teacherConfig: opened.sizes,
      makeTeacher: opened.make,
      student: await openStudent(CONFIG, folder, opened.sizes),
      events: {
        stage: () => {},
        record: (record) => records.push(record),
        evaluation: (record) => evaluations.push(record),
      },
    },
    saved,
  );
  return { run, records, evaluations };
}

beforeAll(async () => {
  FAMILIES.push(TINY_FAMILY);
  // A device of its own, because its memory is compared with the plan.
  gpu = await openTestDevice('run');
  const names = ['tokenizer.json', 'tokenizer_config.json'];
  const files = await Promise.all(
    names.map(async (name) => [name, new Uint8Array(await readFile(`${FOLDER}/${name}`))] as const),
  );
  const model = TINY_FAMILY.create({
    vocabularySize: 1024,
    contextWindow: 32,
    width: 16,
    layers: 2,
    heads: 2,
  });
  const weights = initialWeights(model.parameters, new Random(1));
  folder = sourceOf([
    ...files,
    ['config.json', JSON.stringify(model.formatConfig('float32'))],
    ['model.safetensors', saveWeights(model, weights)],
  ]);
  tokenizer = await openTokenizer(folder, model.vocabularySize);
  documents = [tokenizer.encode(TEXT.repeat(60))];
  inputs = documents[0].slice(0, B * T);
  ({ run, records, evaluations } = await begin());
  while (!run.done) await run.advance();
  await run.drain();
});
afterAll(() => run.destroy());

it('its teacher runs in our kernels, and a student of its second layer learns from it', () => {
  expect(run.student.config).toEqual({
    model_type: 'tiny',
    vocab_size: 1024,
    max_position_embeddings: 32,
    hidden_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    rms_norm_eps: 1e-6,
  });
  expect(evaluations.map(({ step, failed }) => [step, failed])).toEqual([
    [0, 0],
    [10, 0],
    [20, 0],
  ]);
  const [before, , after] = evaluations;
  expect(after.kl).toBeLessThan(0.8 * (before.kl as number));
  expect(records.at(-1)?.loss).toBeLessThan(0.9 * records[0].loss);
  expect(after.teacherPerplexity).toBe(before.teacherPerplexity);
});

it('both models continue the prompt', () => {
  for (const { sample } of evaluations) {
    expect(sample?.teacher.length).toBeGreaterThan(0);
    expect(sample?.student.length).toBeGreaterThan(0);
  }
});

it('the run takes the GPU memory that was planned', async () => {
  const opened = await openTeacher(folder, { f16: false, dtype: 'f32' });
  expect(opened.engine.name).toBe('stillhouse');
  const { student, dtype } = run;
  const planned = await planMemory({
    gpu,
    config: CONFIG,
    dtype,
    student,
    makeTeacher: opened.plan,
  });
  expect(gpu.memory.totals()).toEqual(planned);
});

it('the profile groups the dispatches of all layers', async () => {
  const { phases } = await run.profile();
  const dispatches = (part: string) =>
    phases
      .filter(({ name }) => name === part)
      .flatMap(({ kernels }) => kernels.flatMap(({ kinds }) => kinds))
      .map(({ name, dispatches }) => [name, dispatches]);
  expect(dispatches('teacher')).toContainEqual(['mlp.up', 2]);
  expect(dispatches('student')).toContainEqual(['mlp.up dw', 1]);
});

it('a run that is resumed from a checkpoint has the same bits', async () => {
  const storage = new MemoryStorage();
  const first = await begin();
  while (first.run.step < 10) await first.run.advance();
  const facts = {
    config: CONFIG,
    student: first.run.student.config,
    dtype: first.run.dtype,
    adapter: gpu.adapter.name,
    data: '',
  };
  await writeCheckpoint(storage, '', facts, await first.run.save());
  await first.run.destroy();
  const { facts: read, snapshot } = await readNewest(storage, '', expect.fail);
  expect(parseConfig(read.student).config).toEqual(run.student.config);
  const second = await begin(snapshot);
  while (!second.run.done) await second.run.advance();
  await second.run.drain();
  expect(second.records.map(({ loss }) => loss)).toEqual(records.slice(10).map(({ loss }) => loss));
  await second.run.destroy();
});

it('the exported folder gives the student’s logits, in our kernels and onnxruntime', async () => {
  expect(exportName(CONFIG, run.student, run.step)).toMatch(/^tiny-1x16-from-/);
  const files = await studentFiles(
    {
      architecture: run.student,
      tokenizer,
      parameter: (name) => run.parameter(name),
    },
    { dtype: 'float32', card: () => '' },
  );
  const contents: [string, Blob][] = [];
  for (const { name, chunks } of files) {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const part of chunks()) parts.push(part);
    contents.push([name, new Blob(parts)]);
  }
  const exported = sourceOf(contents);
  expect(await readJson(exported, 'config.json')).toMatchObject({ model_type: 'tiny' });

  const opened = await openTeacher(exported, { f16: false, dtype: 'f32' });
  const engine = await opened.make(gpu, { B, T, dtype: 'f32' });
  const logits = await readTeacherLogits(gpu, engine, inputs);
  await engine.dispose();
  const weights = new Map<string, Float32Array>();
  for (const { name } of run.student.parameters) weights.set(name, await run.parameter(name));
  const truth = tinyLogits(weights, run.student.config as TinyConfig, inputs, B, T);
  expect(reference.relativeError(logits, truth)).toBeLessThan(LIMIT.f32);

  const graph = await exported.read('onnx/model.onnx');
  const session = await native.InferenceSession.create(graph);
  const empty = () => new native.Tensor('float32', new Float32Array(), [B, 2, 0, 8]);
  const outputs = await session.run({
    input_ids: new native.Tensor('int64', BigInt64Array.from(inputs, BigInt), [B, T]),
    'past_key_values.0.key': empty(),
    'past_key_values.0.value': empty(),
  });
  expect(outputs.logits.dims).toEqual([B, T, 1024]);
  expect(reference.relativeError(outputs.logits.data as Float32Array, truth)).toBeLessThan(
    LIMIT.f32,
  );
});

it('without its row the family is refused', () => {
  const config = run.student.formatConfig('float32');
  expect(parseConfig(config).config).toEqual(run.student.config);
  const row = FAMILIES.pop() as (typeof FAMILIES)[0];
  try {
    expect(() => parseConfig(config)).toThrow(
      'config.json: model_type is "tiny"; Stillhouse reads "gpt2", "llama", ',
    );
  } finally {
    FAMILIES.push(row);
  }
});
