// A family other than GPT-2 goes through the engine's code: it trains, evaluates, samples, is saved
// and loaded. That it computes what transformers computes is in golden-llama.test.ts.

import { readFile } from 'node:fs/promises';
import * as native from 'onnxruntime-native';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import type { Tokens } from '../../src/data/tokenizer';
import { exportName, studentFiles } from '../../src/distill/export/export';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { Run } from '../../src/distill/run';
import { planMemory } from '../../src/distill/run-models';
import { newStudent } from '../../src/distill/run-setup';
import { openStudent } from '../../src/distill/student-start';
import { type FolderTokenizer, openTeacher, openTokenizer } from '../../src/distill/teacher/folder';
import { filesSource, type ModelSource, readJson } from '../../src/files/source';
import type { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import type { Architecture } from '../../src/model/family';
import { initialWeights } from '../../src/model/parameters';
import { saveWeights } from '../../src/model/weights';
import * as reference from '../../src/reference';
import { readNewest, writeCheckpoint } from '../../src/runs/checkpoint';
import { MemoryStorage } from '../../src/runs/memory-storage';
import { Random } from '../../src/tensor/random';
import { referenceConfig } from '../llama-goldens';
import { openTestDevice } from './harness';
import { readTeacherLogits } from './students';

/** Of a small Qwen 3 with the built-in tokenizer's vocabulary. */
const SIZES = {
  vocab_size: 1024,
  hidden_size: 16,
  intermediate_size: 24,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 32,
  tie_word_embeddings: true,
};
const DENSE = parseConfig({ model_type: 'qwen3', ...SIZES, num_hidden_layers: 1 });
/** Its second layer has experts. */
const TEACHER = parseConfig({
  model_type: 'qwen3_moe',
  ...SIZES,
  num_hidden_layers: 2,
  use_sliding_window: true,
  sliding_window: 6,
  mlp_only_layers: [0],
  moe_intermediate_size: 12,
  norm_topk_prob: true,
  num_experts: 4,
  num_experts_per_tok: 2,
});
/** Relative norms, as in gradients.test.ts. */
const LIMIT = 1e-4;

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
  // The twin's arenas have a parameter more.
  train_router: 'off',
  router_kd: 0.1,
  twin: 'train_router=on',
  eval_batches: 2,
  eval_steps: 10,
  sample_tokens: 6,
};

/** A dense model's only layer, its perceptron copied to three experts. */
const COPIED: Config = {
  ...CONFIG,
  student_from_layers: '0',
  student_experts: 3,
  loss: 'ce',
  train_steps: 8,
  warmup_steps: 1,
  eval_steps: 8,
  sample_tokens: 0,
  train_router: 'on',
  router_kd: 0,
  twin: '',
};

let gpu: Gpu;
let folder: ModelSource;
let tokenizer: FolderTokenizer;
let documents: Tokens[];
let weights: ReturnType<typeof initialWeights>;
let inputs: Uint32Array<ArrayBuffer>;
let run: Run;
let records: StepRecord[];
let twin: StepRecord[];
let evaluations: EvaluationRecord[];

function sourceOf(files: Iterable<readonly [string, BlobPart]>): ModelSource {
  return filesSource(new Map([...files].map(([name, part]) => [name, new Blob([part])])));
}

/** A folder with larger weights than a new model's, so that there is something to learn. */
async function folderOf(model: Architecture) {
  const names = ['tokenizer.json', 'tokenizer_config.json'];
  const files = await Promise.all(
    names.map(async (name) => [name, new Uint8Array(await readFile(`${FOLDER}/${name}`))] as const),
  );
  const weights = initialWeights(model.parameters, new Random(3));
  for (const [name, values] of weights)
    if (!name.includes('norm'))
      weights.set(
        name,
        values.map((value) => 2 * value),
      );
  const source = sourceOf([
    ...files,
    ['config.json', JSON.stringify(model.formatConfig('float32'))],
    ['model.safetensors', saveWeights(model, weights)],
  ]);
  return { source, weights };
}

async function begin(saved?: Run['snapshot'], config = CONFIG, from = folder) {
  const opened = await openTeacher(from, { f16: false, dtype: 'f32' });
  const records: StepRecord[] = [];
  const twin: StepRecord[] = [];
  const evaluations: EvaluationRecord[] = [];
  const run = await Run.create(
    {
      gpu,
      config,
      tokenizer,
      documents,
      teacherConfig: opened.sizes,
      makeTeacher: opened.make,
      student: await openStudent(config, from, opened.sizes),
      events: {
        stage: () => {},
        record: (record) => records.push(record),
        evaluation: (record) => evaluations.push(record),
        twin: { record: (record) => twin.push(record), evaluation: () => {} },
      },
    },
    saved,
  );
  return { run, records, twin, evaluations };
}

beforeAll(async () => {
  // A device of its own, because its memory is compared with the plan.
  gpu = await openTestDevice('run');
  ({ source: folder, weights } = await folderOf(TEACHER));
  tokenizer = await openTokenizer(folder, TEACHER.vocabularySize);
  documents = [{ ids: tokenizer.encode(TEXT.repeat(60)) }];
  inputs = documents[0].ids.slice(0, B * T);
  ({ run, records, twin, evaluations } = await begin());
  while (!run.done) await run.advance();
  await run.drain();
});
afterAll(() => run.destroy());

it('its teacher runs in our kernels, and a student of its second layer learns from it', () => {
  expect(run.student.config).toEqual({
    ...TEACHER.config,
    num_hidden_layers: 1,
    layer_types: ['sliding_attention'],
    no_rope_layers: [1],
    mlp_only_layers: [],
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

it('its frozen router stays as it is; the twin’s, which trains, parts from it', async () => {
  const values = await run.parameter('layers.0.mlp.gate.weight');
  expect(values).toEqual(weights.get('layers.1.mlp.gate.weight'));
  expect(twin[0].loss).toBe(records[0].loss);
  expect(twin[0].gradNorm).toBeGreaterThan(records[0].gradNorm);
  expect(twin.at(-1)?.loss).not.toBe(records.at(-1)?.loss);
  // The twin's router learns from the teacher's.
  const [first, last] = [records, twin].map((steps) => steps.at(-1)?.routerKd as number);
  expect(twin[0].routerKd).toBeGreaterThan(0);
  expect(last).toBeLessThan(first);
});

it('says how its experts share the tokens, and to which one each of a passage goes', async () => {
  for (const { experts, tokens } of evaluations) {
    const [{ layer, chosen, load, entropy }, ...others] = experts ?? [];
    expect([layer, chosen, load.length, others.length]).toEqual([0, 2, 4, 0]);
    expect(load.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    for (const share of load) {
      // Two different experts for each token.
      expect(share).toBeLessThanOrEqual(0.5);
      expect(share * 2 * tokens).toBeCloseTo(Math.round(share * 2 * tokens), 6);
    }
    expect(entropy).toBeGreaterThan(0);
    expect(entropy).toBeLessThan(Math.log(4));
  }
  const { worst, best } = await run.passages();
  for (const { experts, texts } of [...worst, ...best]) {
    expect(experts?.map(({ layer, experts }) => [layer, experts])).toEqual([[0, 4]]);
    expect(experts?.[0].chosen).toHaveLength(texts.length);
    expect(experts?.[0].chosen.every((expert) => expert < 4)).toBe(true);
  }
});

it('both models continue the prompt', () => {
  for (const { sample } of evaluations) {
    expect(sample?.teacher.length).toBeGreaterThan(0);
    expect(sample?.student.length).toBeGreaterThan(0);
  }
});

async function planned({ student, dtype }: Run, config: Config, from: ModelSource) {
  const opened = await openTeacher(from, { f16: false, dtype: 'f32' });
  expect(opened.engine.name).toBe('stillhouse');
  return planMemory({ gpu, config, dtype, student, makeTeacher: opened.plan });
}

it('the run takes the GPU memory that was planned', async () => {
  expect(gpu.memory.totals()).toEqual(await planned(run, CONFIG, folder));
});

it('the profile groups the dispatches of all layers', async () => {
  const { phases } = await run.profile();
  const dispatches = (part: string) =>
    phases
      .filter(({ name }) => name === part)
      .flatMap(({ kernels }) => kernels.flatMap(({ kinds }) => kinds))
      .map(({ name, dispatches }) => [name, dispatches]);
  expect(dispatches('teacher')).toContainEqual(['self_attn.q_proj+k_proj+v_proj', 2]);
  expect(dispatches('student')).toContainEqual(['mlp.experts.gate_up dw', 1]);
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
  const lossesOf = (steps: StepRecord[]) => steps.map(({ loss }) => loss);
  expect(lossesOf(second.records)).toEqual(lossesOf(records.slice(10)));
  expect(lossesOf(second.twin)).toEqual(lossesOf(twin.slice(10)));
  await second.run.destroy();
});

/** What it exports, and logits of `inputs`: by that folder in our kernels, by the slow twin. */
async function exportOf(run: Run, config: Config) {
  const { student } = run;
  expect(exportName(config, student, run.step)).toMatch(/^qwen3_moe-1x16-from-/);
  const parameter = (name: string) => run.parameter(name);
  const files = await studentFiles(
    { architecture: student, tokenizer, parameter },
    { dtype: 'float32', card: () => '' },
  );
  const contents: [string, Blob][] = [];
  for (const { name, chunks } of files) {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const part of chunks()) parts.push(part);
    contents.push([name, new Blob(parts)]);
  }
  const exported = sourceOf(contents);
  expect(await readJson(exported, 'config.json')).toMatchObject({ model_type: 'qwen3_moe' });

  const opened = await openTeacher(exported, { f16: false, dtype: 'f32' });
  const engine = await opened.make(gpu, { B, T, dtype: 'f32' });
  const logits = await readTeacherLogits(gpu, engine, inputs);
  await engine.dispose();
  const weights: Record<string, reference.Weight> = {};
  for (const { name, shape } of student.parameters)
    weights[name] = { shape, data: await parameter(name) };
  const fields = referenceConfig(student.formatConfig('float32'));
  const truth = reference.llamaForward(weights, fields, inputs, B, T).logits;
  return { exported, logits, truth, weights };
}

it('the exported folder gives the student’s logits, in our kernels and onnxruntime', async () => {
  const { exported, logits, truth } = await exportOf(run, CONFIG);
  expect(reference.relativeError(logits, truth)).toBeLessThan(LIMIT);

  const graph = await exported.read('onnx/model.onnx');
  const session = await native.InferenceSession.create(graph);
  const empty = () => new native.Tensor('float32', new Float32Array(), [B, 2, 0, 8]);
  const integers = (values: ArrayLike<number>, dims: [number, number]) =>
    new native.Tensor('int64', BigInt64Array.from(Array.from(values, BigInt)), dims);
  // The first tokens, then the rest with the keys and values of the first.
  const FIRST = 9;
  const part = async (
    from: number,
    to: number,
    past: { key: native.Tensor; value: native.Tensor },
  ) => {
    const length = to - from;
    const [ids, positions] = [
      Array.from(
        { length: B * length },
        (_, i) => inputs[Math.floor(i / length) * T + from + (i % length)],
      ),
      Array.from({ length: B * length }, (_, i) => from + (i % length)),
    ];
    const { logits, ...present } = await session.run({
      input_ids: integers(ids, [B, length]),
      attention_mask: integers(Array(B * to).fill(1), [B, to]),
      position_ids: integers(positions, [B, length]),
      'past_key_values.0.key': past.key,
      'past_key_values.0.value': past.value,
    });
    expect(logits.dims).toEqual([B, length, 1024]);
    const rows = (b: number) =>
      Array.from(logits.data as Float32Array).slice(b * length * 1024, (b + 1) * length * 1024);
    return { rows, past: { key: present['present.0.key'], value: present['present.0.value'] } };
  };
  const first = await part(0, FIRST, { key: empty(), value: empty() });
  const rest = await part(FIRST, T, first.past);
  const joined = [0, 1].flatMap((b) => [...first.rows(b), ...rest.rows(b)]);
  expect(reference.relativeError(joined, truth)).toBeLessThan(LIMIT);
});

it('experts that are copies compute what the dense teacher does, and then part', async () => {
  const before = gpu.memory.totals();
  const { source } = await folderOf(DENSE);
  const { run, evaluations } = await begin(undefined, COPIED, source);
  while (!run.done) await run.advance();
  await run.drain();
  const taken = Object.entries(gpu.memory.totals()).map(([purpose, bytes]) => [
    purpose,
    bytes - (before[purpose as keyof typeof before] ?? 0),
  ]);
  expect(Object.fromEntries(taken)).toEqual(await planned(run, COPIED, source));
  // The mean of 60 tokens' divergences, each a sum of 1,024 f32 terms that cancel.
  const [first, last] = evaluations;
  expect(Math.abs(first.kl as number)).toBeLessThan(1e-6);
  expect(last.studentPerplexity).toBeLessThan(0.9 * (first.studentPerplexity as number));
  const { logits, truth, weights } = await exportOf(run, COPIED);
  expect(reference.relativeError(logits, truth)).toBeLessThan(LIMIT);
  const [one, other] = [0, 1].map((e) => weights[`layers.0.mlp.experts.${e}.up_proj.weight`]);
  expect(one.data).not.toEqual(other.data);
  await run.destroy();
});

it('a new student is of its teacher’s family', async () => {
  const { sizes } = await openTeacher(folder, { f16: false, dtype: 'f32' });
  const student = newStudent(DEFAULTS, sizes);
  expect(student.config).toMatchObject({
    model_type: 'qwen3_moe',
    vocab_size: 1024,
    hidden_size: DEFAULTS.student_width,
    num_key_value_heads: DEFAULTS.student_heads / 2,
  });
  expect(newStudent(DEFAULTS, { vocabularySize: 9 }).family.modelType).toBe('gpt2');
});
