// Teachers and students from folders of the test hub: their logits are PyTorch's, their weights the
// file's, and models that do not fit together are refused.

import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import type { EvaluationRecord } from '../../src/distill/records';
import { Run } from '../../src/distill/run';
import { openStudent } from '../../src/distill/student-start';
import { openTeacher, openTokenizer } from '../../src/distill/teacher/folder';
import { httpSource, hubAddress } from '../../src/files/http';
import { folderSource } from '../../src/files/source';
import type { Gpu } from '../../src/gpu/device';
import { Arena, fill, planArena } from '../../src/model/parameters';
import { fromHalf, toHalf } from '../../src/tensor/dtype';
import { goldenModel, modelFiles, publish, type Variant } from '../hub-models';
import { type Hub, serveHub } from '../hub-server';
import { readGoldenJson, readGoldenTensors } from '../safetensors-fixture';
import { openTestDevice } from './harness';
import { readTeacherLogits } from './students';

const { batch: B, context: T } = readGoldenJson<{
  hyper_parameters: { batch: number; context: number };
}>('gpt2_run.json').hyper_parameters;
const truth = readGoldenTensors('gpt2_run.safetensors');
const teacher = goldenModel('teacher');
const student = goldenModel('student');

let gpu: Gpu;
let hub: Hub;
beforeAll(async () => {
  [gpu, hub] = await Promise.all([openTestDevice(), serveHub()]);
});
afterAll(() => hub.close());

const source = (id: string) =>
  httpSource({ label: id, address: hubAddress(id, 'main', hub.url), pause: 1 });

/** ‖a − b‖ / ‖b‖ */
function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    norm += b[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

// Rounding of the stored weights, through three layers: bfloat16 has 8 bits, float16 11.
const variants: [Variant, number][] = [
  [{}, 1e-4],
  [{ dtype: 'F16', shards: 2, masks: true, prefix: '' }, 2e-3],
  [{ dtype: 'BF16', head: 'tied' }, 2e-2],
];
test.each(variants)(
  'a GPT-2 from the hub, stored as %o, gives PyTorch’s logits',
  async (variant, tolerance) => {
    publish(hub, 'org/teacher', modelFiles(teacher, variant));
    const folder = await openTeacher(source('org/teacher'), { f16: gpu.adapter.f16, dtype: 'f32' });
    expect([folder.engine.name, folder.parameters]).toEqual([
      'stillhouse',
      planArena(teacher.architecture.parameters).parameters,
    ]);
    const running = await folder.make(gpu, { B, T, dtype: 'f32' });
    // tokens are (steps, B, T + 1); the model reads the first T of each row.
    const inputs = Uint32Array.from(
      { length: B * T },
      (_, i) => truth.tokens.data[Math.floor(i / T) * (T + 1) + (i % T)],
    );
    const logits = await readTeacherLogits(gpu, running, inputs);
    expect(relativeError(logits, truth['teacher.logits'].data)).toBeLessThan(tolerance);
    await running.dispose();
  },
);

const SMALL_LLAMA = {
  model_type: 'llama',
  vocab_size: 97,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 32,
};

test('streamed weights fill every arena', async () => {
  publish(hub, 'org/student', modelFiles(student, { shards: 3 }));
  const start = await openStudent(
    { ...DEFAULTS, student_model: 'org/student', student_from_layers: '' },
    source('org/none'),
    teacher.architecture,
    source('org/student'),
  );
  expect(start?.architecture.config).toEqual(student.config);
  const plan = planArena(student.architecture.parameters);
  const single = new Arena(gpu, plan, 'f32', 'weights', 'single');
  const arenas = gpu.adapter.f16
    ? [single, new Arena(gpu, plan, 'f16', 'weights', 'half')]
    : [single];
  await fill(gpu, arenas, start!.weights);
  expect(await single.read()).toEqual(student.weights);
  if (arenas[1]) {
    const halves = fromHalf(new Uint16Array(await arenas[1].save()));
    for (const [name, { first, size }] of plan.tensors) {
      expect(halves.subarray(first, first + size), name).toEqual(
        fromHalf(toHalf(student.weights.get(name)!)),
      );
    }
  }
  for (const arena of arenas) arena.destroy();
  await expect(
    fill(gpu, [new Arena(gpu, plan, 'f32', 'weights', 'less')], async () => {}),
  ).rejects.toThrow('received 0 weights; the model has');
});

test('a student takes chosen layers of its teacher, and a missing layer is refused', async () => {
  publish(hub, 'org/teacher', modelFiles(teacher));
  const from = (student_from_layers: string) =>
    openStudent(
      { ...DEFAULTS, student_model: 'teacher', student_from_layers },
      source('org/teacher'),
      teacher.architecture,
    );
  const start = await from('2,0');
  expect(start?.architecture.config).toEqual({ ...teacher.config, n_layer: 2 });
  const arena = new Arena(
    gpu,
    planArena(start!.architecture.parameters),
    'f32',
    'weights',
    'student',
  );
  await fill(gpu, [arena], start!.weights);
  const weights = await arena.read();
  expect(weights.get('h.0.attn.c_attn.weight')).toEqual(
    teacher.weights.get('h.2.attn.c_attn.weight'),
  );
  expect(weights.get('h.1.attn.c_attn.weight')).toEqual(
    teacher.weights.get('h.0.attn.c_attn.weight'),
  );
  expect(weights.get('wte.weight')).toEqual(teacher.weights.get('wte.weight'));
  arena.destroy();
  await expect(from('0,3')).rejects.toThrow(
    'student_from_layers is 0,3, and the teacher has no layer 3. Its 3 layers are 0 to 2.',
  );
  expect(
    await openStudent(
      { ...DEFAULTS, student_model: '', student_from_layers: '' },
      source('org/teacher'),
      teacher.architecture,
    ),
  ).toBe(undefined);
});

test('another vocabulary is refused with a way out', async () => {
  publish(hub, 'org/student', modelFiles(student));
  const sizes = { vocabularySize: 1024, contextWindow: 128 };
  const settings = { ...DEFAULTS, student_model: 'org/student', student_from_layers: '' };
  await expect(
    openStudent(settings, source('org/none'), sizes, source('org/student')),
  ).rejects.toThrow(
    'The student org/student has 97 tokens, the teacher org/none 1,024. ' +
      'Choose two models with the same tokenizer',
  );
});

test('teacher_engine and a folder’s files decide which engine runs it', async () => {
  const opened = (
    files: Map<string, Uint8Array>,
    f16 = false,
    engine?: 'auto' | 'stillhouse' | 'onnxruntime',
  ) => {
    publish(hub, 'org/any', files);
    return openTeacher(source('org/any'), { engine, f16, dtype: f16 ? 'f16' : 'f32' });
  };
  const files = modelFiles(teacher, { onnx: true });
  expect((await opened(files)).engine).toEqual({
    name: 'stillhouse',
    reason: 'its kernels support "gpt2"',
  });
  const chosen = await opened(files, false, 'onnxruntime');
  expect(chosen.engine).toEqual({
    name: 'onnxruntime',
    reason: 'teacher_engine=onnxruntime',
  });
  expect(await chosen.bytes()).toBe(files.get('onnx/model.onnx')!.length);
  const without = new Map(files);
  without.delete('onnx/model.onnx');
  const made = await opened(without, false, 'onnxruntime');
  expect(made.engine).toEqual(chosen.engine);
  expect(await made.bytes()).toBe(await chosen.bytes());
  files.delete('model.safetensors');
  const onnx = await opened(files, true);
  expect(onnx.engine).toEqual({
    name: 'onnxruntime',
    reason: 'the folder has no safetensors',
  });
  expect(await onnx.bytes()).toBe(files.get('onnx/model.onnx')!.length);
  await expect(opened(files, false, 'stillhouse')).rejects.toThrow(
    'org/any has no model.safetensors.',
  );
  files.delete('onnx/model.onnx');
  await expect(opened(files)).rejects.toThrow(
    'org/any has no model.safetensors. Choose a model or a revision',
  );

  const json = (value: object) => new TextEncoder().encode(JSON.stringify(value));
  // Of a type that our kernels run, with a field that they do not.
  const field = { rope_scaling: { rope_type: 'yarn', factor: 4 } };
  const yarn = new Map([['config.json', json({ ...SMALL_LLAMA, ...field })]]);
  await expect(opened(yarn)).rejects.toThrow('rope_scaling.rope_type is "yarn"');
  yarn.set('onnx/model.onnx', json({}));
  const inOnnx = await opened(yarn);
  expect(inOnnx.engine.reason).toContain('do not support this "llama": config.json of org/any');
  await expect(opened(yarn, false, 'stillhouse')).rejects.toThrow('rope_type is "yarn"');

  const gemma = { model_type: 'gemma', vocab_size: 97, max_position_embeddings: 32 };
  const other = new Map([['config.json', json(gemma)]]);
  await expect(opened(other)).rejects.toThrow(
    'org/any is of type "gemma" and has no onnx/model.onnx.',
  );
  other.set('onnx/model.onnx', json({}));
  const { sizes, parameters, engine } = await opened(other);
  expect([sizes, parameters]).toEqual([{ vocabularySize: 97, contextWindow: 32 }, undefined]);
  expect(engine.reason).toBe('Stillhouse’s kernels do not support "gemma"');
  await expect(opened(other, false, 'stillhouse')).rejects.toThrow(
    'org/any is of type "gemma", and teacher_engine=stillhouse runs GPT-2, Llama, Mistral, ' +
      'Qwen2, Qwen3, SmolLM3, Mixtral, Qwen3 MoE, OLMoE or dots1 only. ' +
      'Use teacher_engine=auto, or ' +
      'choose another model.',
  );
  await expect(
    opened(
      new Map([
        ['config.json', json({ model_type: 'gemma', vocab_size: 97 })],
        ['onnx/model.onnx', json({})],
      ]),
    ),
  ).rejects.toThrow(
    'config.json of org/any: n_positions or max_position_embeddings or n_ctx is missing',
  );
});

test('a student of all its teacher’s layers starts with a KL below 1e-5', async () => {
  const folder = 'public/models/moby-teacher';
  const local = folderSource('moby-teacher', {
    size: (file) =>
      readFile(`${folder}/${file}`).then(
        ({ length }) => length,
        () => undefined,
      ),
    range: async (file, from, to) =>
      new Uint8Array(await readFile(`${folder}/${file}`)).slice(from, to),
  });
  const layers: Partial<Config> = { student_model: 'teacher', student_from_layers: '0,1,2,3' };
  const small = {
    batch_size: 2,
    max_length: 16,
    eval_batches: 2,
    sample_tokens: 0,
    train_steps: 1,
  };
  const config: Config = {
    ...DEFAULTS,
    ...layers,
    ...small,
    model_dtype: 'float32',
    student_lr: 1e-7,
  };
  const opened = await openTeacher(local, { f16: false, dtype: 'f32' });
  const tokenizer = await openTokenizer(local, opened.sizes.vocabularySize);
  const evaluations: EvaluationRecord[] = [];
  const run = await Run.create({
    gpu,
    config,
    tokenizer,
    teacherConfig: opened.sizes,
    documents: [
      {
        ids: tokenizer.encode(
          'Call me Ishmael. Some years ago, never mind how long precisely. '.repeat(60),
        ),
      },
    ],
    student: await openStudent(config, local, opened.sizes),
    makeTeacher: opened.make,
    events: { stage: () => {}, record: () => {}, evaluation: (record) => evaluations.push(record) },
  });
  await run.advance();
  expect(run.studentParameters).toBe(run.teacherParameters);
  expect(evaluations[0].kl).toBeLessThan(1e-5);
  expect(evaluations[0].agreement).toBe(1);
  await run.destroy();
});
