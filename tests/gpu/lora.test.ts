// Low-rank adapters: their training against PEFT on transformers' own models (make_lora.py), what a
// step of them takes, and a whole run of them. Tolerances are those of golden-run.test.ts, for its
// reasons.

import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import { studentFiles } from '../../src/distill/export/export';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { Run } from '../../src/distill/run';
import { planMemory } from '../../src/distill/run-models';
import type { TrainerSettings } from '../../src/distill/settings';
import { openStudent } from '../../src/distill/student-start';
import { openTeacher, openTokenizer } from '../../src/distill/teacher/folder';
import { Trainer } from '../../src/distill/trainer';
import { Doctor } from '../../src/doctor/doctor';
import { filesSource, type ModelSource } from '../../src/files/source';
import { countingGpu } from '../../src/gpu/counting';
import type { Gpu } from '../../src/gpu/device';
import { Pool } from '../../src/gpu/program';
import { parseConfig } from '../../src/model/families';
import { type LoraSettings, withAdapters } from '../../src/model/lora';
import { fill, initialWeights } from '../../src/model/parameters';
import { frozenArena } from '../../src/model/rounded';
import { relativeError } from '../../src/reference';
import { Random } from '../../src/tensor/random';
import { type GoldenTensor, readGoldenJson, readGoldenTensors } from '../safetensors-fixture';
import { openTestDevice } from './harness';
import { adamOf, readTeacherLogits } from './students';

const TOLERANCE = {
  f32: { gradient: 1e-4, loss: 1e-5, after: 2e-4 },
  f16: { gradient: 1e-2, loss: 1e-2, after: 1e-1 },
};
const LOSS_SCALE = 16384;

interface Golden {
  config: Record<string, unknown>;
  lora: { r: number; lora_alpha: number; target_modules: string[] };
  hyper_parameters: Record<
    'batch' | 'context' | 'steps' | 'beta1' | 'beta2' | 'eps' | 'weight_decay' | 'clip',
    number
  >;
  steps: { loss: number; grad_norm: number; lr: number }[];
}

/** Without the prefix of the family's files. */
const ours = (name: string) => name.replace(/^(transformer|model)\./, '');

function readGolden(name: string) {
  const golden = readGoldenJson<Golden>(`${name}_lora.json`);
  const tensors = readGoldenTensors(`${name}_lora.safetensors`);
  /** Tensors called `PREFIX.NAME`, by our name. */
  const named = (prefix: string): Map<string, GoldenTensor> =>
    new Map(
      Object.entries(tensors).flatMap(([key, tensor]) =>
        key.startsWith(`${prefix}.`) ? [[ours(key.slice(prefix.length + 1)), tensor]] : [],
      ),
    );
  return { ...golden, tokens: tensors.tokens.data, named };
}

async function train(
  gpu: Gpu,
  name: string,
  dtype: 'f16' | 'f32',
  {
    recompute = false,
    baseWeights,
    base,
  }: Pick<TrainerSettings, 'recompute' | 'baseWeights'> & {
    base?: ReadonlyMap<string, Float32Array>;
  } = {},
) {
  const { config, lora, hyper_parameters: hyper, ...golden } = readGolden(name);
  const { batch: B, context: T } = hyper;
  const student = withAdapters(parseConfig(config), {
    rank: lora.r,
    alpha: lora.lora_alpha,
    targets: lora.target_modules.join(),
  });
  const weights = new Map(
    [...golden.named('base'), ...golden.named('before')].map(([key, { data }]) => [
      key,
      base?.get(key) ?? Float32Array.from(data),
    ]),
  );
  const pool = new Pool(gpu);
  const records: StepRecord[] = [];
  const trainer = await Trainer.create(
    gpu,
    pool,
    {
      student,
      dtype,
      batchSize: B,
      contextLength: T,
      recompute,
      baseWeights,
      loss: { ...DEFAULTS, loss: 'ce' },
      initialLossScale: LOSS_SCALE,
      adam: adamOf(hyper),
    },
    weights,
    undefined,
    (record) => records.push(record),
  );
  let gradients = new Map<string, Float32Array>();
  for (const [index, { lr: learningRate }] of golden.steps.entries()) {
    const rows = Array.from({ length: B }, (_, b) => {
      const start = (index * B + b) * (T + 1);
      return [...golden.tokens.slice(start, start + T + 1)];
    });
    const batch = {
      index,
      inputs: Uint32Array.from(rows.flatMap((row) => row.slice(0, -1))),
      targets: Int32Array.from(rows.flatMap((row) => row.slice(1))),
    };
    await trainer.step([batch], { step: index + 1, learningRate, temperature: 1, alpha: 0 });
    if (index === 0) gradients = await trainer.gradients.read();
  }
  await trainer.drain();
  const after = await trainer.master.read();
  const merged = new Map<string, Float32Array>();
  for (const key of golden.named('merged').keys()) merged.set(key, await trainer.parameter(key));
  trainer.destroy();
  pool.destroy();
  return { records, gradients, after, merged };
}

function errors(
  actual: ReadonlyMap<string, Float32Array>,
  expected: ReadonlyMap<string, GoldenTensor>,
  limit: number,
  scale = 1,
) {
  expect([...actual.keys()].sort()).toEqual([...expected.keys()].sort());
  return [...actual]
    .map(([name, data]) => {
      const scaled = data.map((value) => value / scale);
      return { name, error: relativeError(scaled, expected.get(name)?.data ?? []) };
    })
    .filter(({ error }) => !(error < limit));
}

describe.each(['gpt2', 'qwen2'])('%s', (name) => {
  const { named, steps } = readGolden(name);

  it('ten steps are PEFT’s, in f32 and where the adapter has it in f16', async () => {
    const gpu = await openTestDevice();
    for (const dtype of gpu.adapter.f16 ? (['f32', 'f16'] as const) : (['f32'] as const)) {
      const tolerance = TOLERANCE[dtype];
      const recompute = dtype === 'f16';
      const { records, gradients, after, merged } = await train(gpu, name, dtype, { recompute });
      const scale = dtype === 'f16' ? LOSS_SCALE : 1;
      expect(errors(gradients, named('grad'), tolerance.gradient, scale)).toEqual([]);
      expect(records).toHaveLength(steps.length);
      for (const [i, { loss, gradNorm, applied }] of records.entries()) {
        expect(applied).toBe(true);
        expect(relativeError([loss], [steps[i].loss])).toBeLessThan(tolerance.loss);
        expect(relativeError([gradNorm], [steps[i].grad_norm])).toBeLessThan(10 * tolerance.loss);
      }
      expect(errors(after, named('after'), tolerance.after)).toEqual([]);
      expect(errors(merged, named('merged'), tolerance.after)).toEqual([]);
    }
  });

  it('in 8 bits, ten steps are those beside the values that the bits stand for', async () => {
    const gpu = await openTestDevice();
    const architecture = parseConfig(readGolden(name).config);
    const arena = frozenArena(gpu, architecture, 'f32', 'int8');
    const given = new Map([...named('base')].map(([key, t]) => [key, Float32Array.from(t.data)]));
    await fill(gpu, [arena], given);
    const base = new Map<string, Float32Array>();
    for (const key of given.keys()) base.set(key, await arena.readParameter(key));
    arena.destroy();
    const int8 = await train(gpu, name, 'f32', { baseWeights: 'int8' });
    expect(int8).toEqual(await train(gpu, name, 'f32', { base }));
    // Rounding has moved the first loss, by less than 1%.
    const moved = relativeError([int8.records[0].loss], [steps[0].loss]);
    expect(moved).toBeGreaterThan(0);
    expect(moved).toBeLessThan(1e-2);
  });
});

/** The GPU memory of a step of SmolLM2-135M's shape on 2 × 256 tokens, in bytes. */
async function stepMemory(gpu: Gpu, dtype: 'f16' | 'f32', lora?: LoraSettings): Promise<number> {
  const smollm = parseConfig({
    model_type: 'llama',
    vocab_size: 49152,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    max_position_embeddings: 8192,
    tie_word_embeddings: true,
  });
  const counting = countingGpu(gpu);
  const adam = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };
  const trainer = await Trainer.create(
    counting,
    new Pool(counting),
    {
      student: lora ? withAdapters(smollm, lora) : smollm,
      dtype,
      batchSize: 2,
      contextLength: 256,
      recompute: dtype === 'f32',
      loss: { ...DEFAULTS, loss: 'ce' },
      initialLossScale: 1,
      adam,
    },
    undefined,
    undefined,
    () => {},
  );
  await trainer.prepare();
  return Object.values(counting.memory.totals()).reduce((sum, bytes) => sum + bytes, 0);
}

it('a step of SmolLM2-135M’s adapters takes under 40% of a whole step’s memory', async () => {
  const gpu = await openTestDevice();
  const dtype = gpu.adapter.f16 ? 'f16' : 'f32';
  const lora = { rank: 16, alpha: 32, targets: 'all-linear' };
  const [whole, adapters] = [await stepMemory(gpu, dtype), await stepMemory(gpu, dtype, lora)];
  expect(adapters / whole).toBeLessThan(0.4);
});

it('weights in 8 bits may come in slices, and are off by half a scale', async () => {
  const gpu = await openTestDevice();
  const architecture = parseConfig(readGolden('qwen2').config);
  const weights = initialWeights(architecture.parameters, new Random(1));
  const [whole, sliced] = [1, 2].map(() => frozenArena(gpu, architecture, 'f32', 'int8'));
  await fill(gpu, [whole], weights);
  await fill(gpu, [sliced], async (sink) => {
    for (const [name, values] of [...weights].reverse()) {
      const cut = 2 * Math.floor(values.length / 3);
      await sink(name, cut, values.slice(cut));
      await sink(name, 0, values.slice(0, cut));
    }
  });
  for (const { name, role } of architecture.parameters) {
    const [kept, values] = [await whole.readParameter(name), weights.get(name)!];
    expect(await sliced.readParameter(name), name).toEqual(kept);
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const limit = role === 'matrix' ? (1.001 * largest) / 254 : 0;
    expect(Math.max(...kept.map((value, i) => Math.abs(value - values[i])))).toBeLessThanOrEqual(
      limit,
    );
  }
  whole.destroy();
  sliced.destroy();
});

const FOLDER = 'public/models/moby-teacher';
const TEXT =
  'Call me Ishmael. Some years ago, never mind how long precisely, ' +
  'having little or no money in my purse. ';
const CONFIG: Config = {
  ...DEFAULTS,
  student_model: 'teacher',
  student_from_layers: '0,1',
  lora_rank: 2,
  base_weights: 'int8',
  // It reads the same frozen weights.
  twin: 'student_lr=0.005',
  lora_targets: 'c_attn,mlp.c_proj',
  model_dtype: 'float32',
  batch_size: 2,
  max_length: 16,
  train_steps: 20,
  student_lr: 0.01,
  warmup_steps: 2,
  eval_batches: 2,
  eval_steps: 10,
  sample_tokens: 4,
};

async function readFolder(): Promise<ModelSource> {
  const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
  const read = async (name: string) =>
    [name, new Blob([await readFile(`${FOLDER}/${name}`)])] as const;
  return filesSource(new Map(await Promise.all(names.map(read))));
}

it('a run trains adapters alone, is resumed, planned and exported', async () => {
  // A device of its own, because its memory is compared with the plan.
  const gpu = await openTestDevice('run');
  const folder = await readFolder();
  const tokenizer = await openTokenizer(folder, 1024);
  const documents = [{ ids: tokenizer.encode(TEXT.repeat(40)) }];
  const begin = async (snapshot?: Run['snapshot']) => {
    const opened = await openTeacher(folder, { f16: false, dtype: 'f32' });
    const [records, evaluations]: [StepRecord[], EvaluationRecord[]] = [[], []];
    const student = await openStudent(CONFIG, folder, opened.sizes);
    const run = await Run.create(
      {
        gpu,
        config: CONFIG,
        tokenizer,
        documents,
        teacherConfig: opened.sizes,
        makeTeacher: opened.make,
        student,
        events: {
          stage: () => {},
          record: (record) => records.push(record),
          evaluation: (record) => evaluations.push(record),
        },
      },
      snapshot,
    );
    return { run, records, evaluations, opened };
  };
  const { run, records, evaluations, opened } = await begin();
  const { student, dtype } = run;
  const plan = { gpu, config: CONFIG, dtype, student, makeTeacher: opened.plan };
  expect(gpu.memory.totals()).toEqual(await planMemory(plan));
  expect(run.trainedParameters).toBe(2 * 2 * (160 + 480 + 640 + 160));

  const frozen = await run.parameter('h.0.attn.c_proj.weight');
  while (run.step < 10) await run.advance();
  const snapshot = await run.save();
  expect(snapshot.master.byteLength).toBeLessThan(4 * run.studentParameters);
  while (!run.done) await run.advance();
  await run.drain();
  expect(evaluations[2].studentPerplexity).toBeLessThan(evaluations[0].studentPerplexity as number);
  expect(evaluations[1].updateRatio).toBeGreaterThan(0);
  expect(await run.parameter('h.0.attn.c_proj.weight')).toEqual(frozen);

  const doctor = new Doctor(CONFIG, {
    dtype: 'float32',
    studentParameters: run.studentParameters,
    vocabularySize: 1024,
    data: run.dataFacts,
  });
  for (const record of records) doctor.step(record);
  for (const record of evaluations) doctor.evaluation(record);
  expect(doctor.verdicts.filter(({ severity }) => severity === 'problem')).toEqual([]);

  const files = await studentFiles(
    { architecture: student, tokenizer, base: 'org/base', parameter: (key) => run.parameter(key) },
    { dtype: 'float32', card: () => '' },
  );
  const contents = new Map<string, Blob>();
  for (const { name, bytes, chunks } of files) {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const part of chunks()) parts.push(part);
    const blob = new Blob(parts);
    expect(blob.size, name).toBe(bytes);
    contents.set(name, blob);
  }
  expect(
    JSON.parse((await contents.get('adapter/adapter_config.json')?.text()) ?? ''),
  ).toMatchObject({
    base_model_name_or_path: 'org/base',
    fan_in_fan_out: true,
    lora_alpha: 16,
    peft_type: 'LORA',
    r: 2,
    target_modules: ['c_attn', 'mlp.c_proj'],
  });
  const header = await contents.get('adapter/adapter_model.safetensors')?.slice(8, 400).text();
  expect(header).toContain('base_model.model.transformer.h.0.attn.c_attn.lora_A.weight');

  // The merged folder is the student: its perplexity as a teacher is the student's.
  const exported = await openTeacher(filesSource(contents), { f16: false, dtype: 'f32' });
  const inputs = documents[0].ids.slice(0, 32);
  const merged = await exported.make(gpu, { B: 2, T: 16, dtype: 'f32' });
  const logits = await readTeacherLogits(gpu, merged, inputs);
  await merged.dispose();
  const { student: voice } = run.voices();
  const last = await voice(inputs.slice(16));
  expect(relativeError(last, logits.slice(-1024))).toBeLessThan(1e-5);
  await run.destroy();

  const again = await begin(snapshot);
  while (!again.run.done) await again.run.advance();
  await again.run.drain();
  expect(again.records.map(({ loss }) => loss)).toEqual(records.slice(10).map(({ loss }) => loss));
  await again.run.destroy();
});
