// A whole distillation without a browser: the built-in teacher, book and tokenizer, 200 steps, in
// the adapter's own storage type. One block and 128 tokens per step instead of 512, which a
// software adapter runs in a minute.

import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import { decodeCorpus } from '../../src/data/corpus';
import { loadTokenizer } from '../../src/data/tokenizer';
import type { EvaluationRecord, StepRecord } from '../../src/distill/records';
import { Run } from '../../src/distill/run';
import { planMemory } from '../../src/distill/run-models';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { readSafetensors } from '../../src/files/safetensors';
import type { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import { loadWeights } from '../../src/model/weights';
import { openTestDevice } from './harness';

const FOLDER = 'public/models/moby-teacher';
const CORPUS = 'public/corpus/moby-dick.txt';
const SMALL: Config = {
  ...DEFAULTS,
  student_layers: 1,
  batch_size: 4,
  max_length: 32,
  eval_steps: 100,
  eval_batches: 8,
  student_lr: 0.01,
  sample_tokens: 8,
};

let gpu: Gpu;
let run: Run;
const records: StepRecord[] = [];
const evaluations: EvaluationRecord[] = [];
let planned: unknown;
let memoryAfter10: unknown;
/** Milliseconds of the run, and those with an empty GPU queue. */
const time = { wall: 0, idle: 0 };
/** Labels of pipelines and bind groups made during the run. */
const compiled: (string | undefined)[] = [];

beforeAll(async () => {
  gpu = await openTestDevice();
  const teacherConfig = parseConfig(JSON.parse(await readFile(`${FOLDER}/config.json`, 'utf8')));
  const tokenizer = await loadTokenizer(FOLDER, {
    read: (path) => readFile(path, 'utf8'),
    vocabularySize: teacherConfig.vocabularySize,
  });
  const file = `${FOLDER}/model.safetensors`;
  const weights = loadWeights(readSafetensors(await readFile(file), file), teacherConfig, file);
  run = await Run.create({
    gpu,
    config: SMALL,
    tokenizer,
    teacherConfig,
    documents: [tokenizer.encode(decodeCorpus(CORPUS, await readFile(CORPUS)))],
    makeTeacher: (gpu, shape) => teacherFromWeights(gpu, weights, teacherConfig, shape),
    events: {
      stage: () => undefined,
      record: (record) => records.push(record),
      evaluation: (record) => evaluations.push(record),
    },
  });
  planned = await planMemory({
    gpu,
    config: SMALL,
    dtype: run.dtype,
    student: run.student,
    makeTeacher: (counting, shape) => teacherFromWeights(counting, undefined, teacherConfig, shape),
  });
  const makers = (
    ['createShaderModule', 'createComputePipelineAsync', 'createBindGroup'] as const
  ).map((name) => vi.spyOn(gpu.device, name as 'createShaderModule'));
  const busy = watchQueue(gpu);
  const started = performance.now();
  while (!run.done) {
    await run.advance();
    // The first evaluation and the first step wait for their kernels.
    if (run.step === 1) for (const maker of makers) maker.mockClear();
    if (run.step === 10) memoryAfter10 = gpu.memory.totals();
  }
  await run.drain();
  time.wall = performance.now() - started;
  time.idle = time.wall - (await busy());
  compiled.push(...makers.flatMap(({ mock }) => mock.calls.map(([{ label }]) => label)));
  vi.restoreAllMocks();
});

/** Starts to count; the result gives the milliseconds with something on the queue. */
function watchQueue({ device: { queue } }: Gpu): () => Promise<number> {
  const submit = queue.submit.bind(queue);
  let [busy, last] = [0, 0];
  let all: Promise<void> = Promise.resolve();
  vi.spyOn(queue, 'submit').mockImplementation((buffers) => {
    const sent = performance.now();
    submit(buffers);
    all = queue.onSubmittedWorkDone().then(() => {
      const now = performance.now();
      busy += now - Math.max(last, sent);
      last = now;
    });
  });
  return async () => {
    await all;
    return busy;
  };
}

afterAll(() => run.destroy());

it('runs in f16 if the adapter has it, else in f32', () => {
  expect(run.dtype).toBe(gpu.adapter.f16 ? 'f16' : 'f32');
});

it('halves perplexity in 200 steps, and brings KL to under 0.6 of its start', () => {
  const [start, , end] = evaluations;
  expect(evaluations.map(({ step, tried, succeeded }) => [step, tried, succeeded])).toEqual([
    [0, 8, 8],
    [100, 8, 8],
    [200, 8, 8],
  ]);
  expect(end.studentPerplexity).toBeLessThan((start.studentPerplexity as number) / 2);
  expect(end.kl).toBeLessThan((start.kl as number) * 0.6);
  expect(end.agreement).toBeGreaterThan(start.agreement as number);
});

it('records every step once, in order, and skips none once the loss scale has settled', () => {
  expect(records.map(({ step }) => step)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
  const [first, last] = [records[0], records[199]];
  expect(first.lossScale).toBe(run.dtype === 'f16' ? 65536 : 1);
  expect(last.appliedTotal + last.skippedTotal).toBe(200);
  expect(last.tokens).toBe(128);
  // At a scale of 65536 this student's gradients overflow f16; a few halvings end that. 200 good
  // steps are fewer than the 2,000 that would double the scale again.
  const settled = records.slice(10);
  expect(settled.every(({ applied }) => applied)).toBe(true);
  expect(new Set(settled.map(({ lossScale }) => lossScale)).size).toBe(1);
  const halvings = records.filter(({ applied }) => !applied).length;
  expect(last.lossScale).toBe(first.lossScale / 2 ** halvings);
});

it('keeps the GPU busy through evaluations, samples and snapshots', () => {
  console.log(
    `${time.wall.toFixed(0)} ms, of which the GPU had nothing to do for ${time.idle.toFixed(0)}.`,
  );
  expect(time.idle).toBeLessThan(0.1 * time.wall);
});

it('makes no pipeline and no bind group during training', () => {
  expect(compiled).toEqual([]);
});

it('uses as much GPU memory after 200 steps as after 10, and as planned', () => {
  expect(gpu.memory.totals()).toEqual(memoryAfter10);
  expect(gpu.memory.totals()).toEqual(planned);
});

it('lets teacher and student continue the prompt', () => {
  for (const { sample } of evaluations) {
    expect(sample?.prompt).toBe(SMALL.prompt);
    expect(sample?.teacher.length).toBeGreaterThan(0);
    expect(sample?.student.length).toBeGreaterThan(0);
  }
  expect(evaluations[2].sample?.teacher).toBe(evaluations[0].sample?.teacher);
  expect(evaluations[2].sample?.student).not.toBe(evaluations[0].sample?.student);
});
