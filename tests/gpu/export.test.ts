// An exported student: the .zip's weights and graphs compute the logits of the run's engine, in our
// engine, in onnxruntime-web and in onnxruntime's native build; and a student that is distilled
// from itself has nothing to learn.

import { readFile } from 'node:fs/promises';
import * as native from 'onnxruntime-native';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import type { Tokens } from '../../src/data/tokenizer';
import { exportName, studentFiles, zipStudent } from '../../src/distill/export/export';
import type { EvaluationRecord } from '../../src/distill/records';
import { Run } from '../../src/distill/run';
import { openStudent } from '../../src/distill/student-start';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { type FolderTokenizer, openTeacher, openTokenizer } from '../../src/distill/teacher/folder';
import { OnnxModel } from '../../src/distill/teacher/onnx-model';
import { readSafetensors } from '../../src/files/safetensors';
import { filesSource, type ModelSource, readJson } from '../../src/files/source';
import { zipSource } from '../../src/files/unzip';
import type { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import { loadWeights } from '../../src/model/weights';
import { fromHalf } from '../../src/tensor/dtype';
import { openTestDevice } from './harness';
import { readTeacherLogits } from './students';

const FOLDER = 'public/models/moby-teacher';
const NAMES = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];
const [B, T] = [2, 16];
const CONFIG: Config = {
  ...DEFAULTS,
  batch_size: B,
  max_length: T,
  student_layers: 2,
  student_width: 32,
  train_steps: 30,
  student_lr: 0.01,
  eval_batches: 2,
  eval_steps: 1000,
  sample_tokens: 0,
};
const TEXT =
  'Call me Ishmael. Some years ago, never mind how long precisely, having little or no money ' +
  'in my purse. ';
// onnxruntime-web compiles its shaders at the first run: half a minute or more on a software
// adapter.
const COMPILE = 240_000;

let gpu: Gpu;
let run: Run;
let tokenizer: FolderTokenizer;
let documents: Tokens[];
let inputs: Uint32Array;
/** (B, T, V): the trained student's logits, from our engine in f32. */
let expected: Float32Array;
const zips = new Map<'float32' | 'float16', ModelSource>();

/** A run with the models of a folder. */
async function distil(teacher: ModelSource, config: Config, student?: ModelSource) {
  const opened = await openTeacher(teacher, { f16: false, dtype: 'f32' });
  const evaluations: EvaluationRecord[] = [];
  const made = await Run.create({
    gpu,
    config,
    tokenizer,
    documents,
    teacherConfig: opened.sizes,
    makeTeacher: opened.make,
    student: await openStudent(config, teacher, opened.sizes, student),
    events: { stage: () => {}, record: () => {}, evaluation: (record) => evaluations.push(record) },
  });
  return { run: made, evaluations };
}

beforeAll(async () => {
  gpu = await openTestDevice();
  const moby = filesSource(
    new Map(
      await Promise.all(
        NAMES.map(async (name) => [name, new Blob([await readFile(`${FOLDER}/${name}`)])] as const),
      ),
    ),
  );
  tokenizer = await openTokenizer(moby, 1024);
  documents = [{ ids: tokenizer.encode(TEXT.repeat(60)) }];
  inputs = documents[0].ids.slice(0, B * T);
  ({ run } = await distil(moby, { ...CONFIG, model_dtype: 'float32' }));
  while (!run.done) await run.advance();
  const weights = new Map<string, Float32Array>();
  for (const { name } of run.student.parameters) weights.set(name, await run.parameter(name));
  const engine = await teacherFromWeights(gpu, weights, run.student, { B, T, dtype: 'f32' });
  expected = await readTeacherLogits(gpu, engine, inputs);
  await engine.dispose();
  for (const dtype of ['float32', 'float16'] as const) {
    const name = exportName(CONFIG, run.student, run.step);
    const student = {
      architecture: run.student,
      tokenizer,
      parameter: (of: string) => run.parameter(of),
    };
    const zip = await zipStudent(
      name,
      await studentFiles(student, { dtype, card: () => '# A student\n' }),
      {
        date: new Date(),
      },
    );
    zips.set(dtype, zipSource(`${name}.zip`, zip));
  }
});
afterAll(() => run.destroy());

function furthest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < b.length; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
  return most;
}

test('the .zip is named after the run, and has the files of a Hugging Face folder', async () => {
  const zip = zips.get('float32')!;
  expect(zip.label).toBe('gpt2-2x32-from-moby-teacher-30-steps.zip');
  const files = [
    'README.md',
    'generation_config.json',
    ...NAMES,
    'onnx/model.onnx',
    'onnx/model_fp16.onnx',
  ];
  for (const file of files) expect([file, await zip.has(file)]).toEqual([file, true]);
  expect(parseConfig(await readJson(zip, 'config.json')).config).toEqual(run.student.config);
  expect(await readJson(zip, 'config.json')).toMatchObject({
    torch_dtype: 'float32',
    eos_token_id: 1023,
  });
  expect(await readJson(zips.get('float16')!, 'config.json')).toMatchObject({
    torch_dtype: 'float16',
  });
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
    expect(Buffer.compare(await zip.read(file), await readFile(`${FOLDER}/${file}`))).toBe(0);
  }
});

// Relative to the largest logit. In f32 the weights have the run's bits; f16 rounds each by up to
// 2^-12 of itself.
test.each([
  ['float32', 0],
  ['float16', 1e-3],
] as const)('%s safetensors give the run’s logits', async (dtype, tolerance) => {
  const zip = zips.get(dtype)!;
  const bytes = await zip.read('model.safetensors');
  const tensors = readSafetensors(bytes, 'model.safetensors');
  expect([...tensors.keys()].every((name) => name.startsWith('transformer.'))).toBe(true);
  const weights = loadWeights(tensors, run.student, 'model.safetensors');
  const engine = await teacherFromWeights(gpu, weights, run.student, { B, T, dtype: 'f32' });
  const largest = furthest(expected, new Float32Array(expected.length));
  expect(
    furthest(await readTeacherLogits(gpu, engine, inputs), expected) / largest,
  ).toBeLessThanOrEqual(tolerance);
  await engine.dispose();
});

test('the float32 graph gives the run’s logits in native onnxruntime, also by token', async () => {
  const session = await native.InferenceSession.create(
    await zips.get('float32')!.read('onnx/model.onnx'),
  );
  const { layers, heads: H, width: C, vocabularySize: V } = run.student;
  /** Tokens `from` to `to` of each row, after the tokens in the cache. */
  const forward = (from: number, to: number, past: Record<string, native.Tensor>) => {
    const ids = Array.from({ length: B }, (_, row) => [
      ...inputs.slice(row * T + from, row * T + to),
    ]).flat();
    const integers = (values: number[], length: number) =>
      new native.Tensor('int64', BigInt64Array.from(values, BigInt), [B, length]);
    const positions = ids.map((_, i) => from + (i % (to - from)));
    return session.run({
      input_ids: integers(ids, to - from),
      attention_mask: integers(Array(B * to).fill(1), to),
      position_ids: integers(positions, to - from),
      ...past,
    });
  };
  const empty = () => new native.Tensor('float32', new Float32Array(), [B, H, 0, C / H]);
  const cache = (outputs?: native.InferenceSession.OnnxValueMapType) =>
    Object.fromEntries(
      Array.from({ length: layers }, (_, layer) =>
        ['key', 'value'].map((part): [string, native.Tensor] => [
          `past_key_values.${layer}.${part}`,
          (outputs?.[`present.${layer}.${part}`] as native.Tensor | undefined) ?? empty(),
        ]),
      ).flat(),
    );
  const whole = await forward(0, T, cache());
  expect(whole.logits.dims).toEqual([B, T, V]);
  expect(furthest(whole.logits.data as Float32Array, expected)).toBeLessThan(1e-3);

  let before = await forward(0, 5, cache());
  for (let at = 5; at < T; at++) {
    before = await forward(at, at + 1, cache(before));
    expect(before['present.0.key'].dims).toEqual([B, H, at + 1, C / H]);
    const truth = Array.from({ length: B }, (_, row) => [
      ...expected.slice((row * T + at) * V, (row * T + at + 1) * V),
    ]);
    expect(furthest(before.logits.data as Float32Array, truth.flat())).toBeLessThan(1e-3);
  }
});

test('both graphs give the run’s logits in onnxruntime-web, the f16 one with shader-f16 only', {
  timeout: 2 * COMPILE,
}, async () => {
  const { device } = gpu;
  const open = async (file: string) =>
    OnnxModel.create({
      device,
      model: await zips.get('float32')!.read(file),
      config: run.student,
      file,
    });
  // onnxruntime-web's products sum in f16, which has 11 bits.
  const graphs = [
    { file: 'onnx/model.onnx', bytes: 4, tolerance: 1e-3 },
    { file: 'onnx/model_fp16.onnx', bytes: 2, tolerance: 2e-2 },
  ];
  for (const { file, bytes, tolerance } of graphs) {
    if (bytes === 2 && !gpu.adapter.f16) {
      await expect(open(file)).rejects.toThrow('and this device has no shader-f16');
      continue;
    }
    const teacher = await open(file);
    const size = expected.length * bytes;
    const output = device.createBuffer({
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
    });
    await teacher.run(inputs, B, T, output);
    const read = await gpu.read(output);
    const logits = bytes === 4 ? new Float32Array(read) : fromHalf(new Uint16Array(read));
    expect(furthest(logits, expected), file).toBeLessThan(tolerance);
    output.destroy();
    await teacher.dispose();
  }
});

test('a run with the export as teacher and student starts with KL below 1e-5', async () => {
  const zip = zips.get('float32')!;
  const files: Partial<Config> = {
    teacher_model: 'files',
    student_model: 'files',
    model_dtype: 'float32',
  };
  const again = await distil(zip, { ...CONFIG, ...files, train_steps: 1 }, zip);
  await again.run.advance();
  expect(again.run.student.config).toEqual(run.student.config);
  expect(again.evaluations[0].kl).toBeLessThan(1e-5);
  expect(again.evaluations[0].agreement).toBe(1);
  await again.run.destroy();
});

test('weights that do not fit are refused, or their file is left out with the reason', async () => {
  const written = async (value: number, dtype: 'float32' | 'float16') => {
    let left: readonly string[] = [];
    const parameter = async (name: string) => {
      const values = await run.parameter(name);
      if (name === 'ln_f.bias') values[3] = value;
      return values;
    };
    const card = (leftOut: readonly string[]) => {
      left = leftOut;
      return '';
    };
    const student = { architecture: run.student, tokenizer, parameter };
    const zip = await zipStudent('a', await studentFiles(student, { dtype, card }), {
      date: new Date(),
    });
    return { left, has: (file: string) => zipSource('a.zip', zip).has(file) };
  };
  await expect(written(Number.NaN, 'float32')).rejects.toThrow(
    'ln_f.bias contains NaN, so the student is unusable.',
  );
  await expect(written(70_000, 'float16')).rejects.toThrow(
    'A weight of 70000 exceeds float16’s maximum of 65,504.',
  );
  const { left, has } = await written(70_000, 'float32');
  expect(left).toEqual([
    'onnx/model_fp16.onnx: a weight of 70000 exceeds float16’s maximum of 65,504.',
  ]);
  expect([await has('onnx/model.onnx'), await has('onnx/model_fp16.onnx')]).toEqual([true, false]);
});
