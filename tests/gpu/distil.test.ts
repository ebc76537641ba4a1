// A whole distillation without a browser: the built-in teacher, book and tokenizer, 200 steps, in
// the adapter's own storage type. One block and 128 tokens per step instead of 512, which a
// software adapter runs in a minute.

import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import { decodeCorpus } from '../../src/data/corpus';
import { loadTokenizer } from '../../src/data/tokenizer';
import type { EvaluationRecord, NonFiniteRecord, StepRecord } from '../../src/distill/records';
import { Run, type RunOptions } from '../../src/distill/run';
import { planMemory } from '../../src/distill/run-models';
import { expectation } from '../../src/distill/say';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { readSafetensors } from '../../src/files/safetensors';
import type { Gpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import { initialWeights } from '../../src/model/parameters';
import { loadWeights } from '../../src/model/weights';
import { Random } from '../../src/tensor/random';
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
/** All that a run needs but its settings and what it reports. */
let place: Omit<RunOptions, 'config' | 'events'>;
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
  place = {
    gpu,
    tokenizer,
    teacherConfig,
    documents: [{ ids: tokenizer.encode(decodeCorpus(CORPUS, await readFile(CORPUS))) }],
    makeTeacher: (gpu, shape) => teacherFromWeights(gpu, weights, teacherConfig, shape),
  };
  run = await Run.create({
    ...place,
    config: SMALL,
    events: {
      stage: () => undefined,
      nonFinite: () => {
        throw new Error('All numbers of a healthy run are finite.');
      },
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

it('says how KL and confidence differ among the tokens of an evaluation', () => {
  const { tokens, kl, confidence, accuracy, klByPosition, klByFrequency, calibration } =
    evaluations[2];
  // Each group keeps four digits.
  const near = (value: number) => expect.closeTo(value, 2);
  for (const groups of [klByPosition, klByFrequency]) {
    expect(groups?.reduce((sum, [, , count]) => sum + count, 0)).toBe(tokens);
    const mean = groups?.reduce((sum, [, , count, kl]) => sum + (count * kl) / tokens, 0);
    expect(mean).toEqual(near(kl as number));
  }
  expect(klByPosition?.map(([from, to]) => [from, to])).toEqual([
    [1, 1],
    [2, 3],
    [4, 7],
    [8, 15],
    [16, 31],
  ]);
  const share = (i: 3 | 4) =>
    calibration?.reduce((sum, row) => sum + (row[2] * row[i]) / tokens, 0);
  expect(share(3)).toEqual(near(confidence as number));
  expect(share(4)).toEqual(near(accuracy as number));
});

it('finds the passages learned worst and best, with what both models expect', async () => {
  const { step, worst, best } = await run.passages();
  expect([step, worst.length, best.length]).toEqual([200, 3, 3]);
  const { kl } = evaluations[2];
  expect(worst[2].mean).toBeGreaterThan(kl as number);
  expect(best[2].mean).toBeLessThan(kl as number);
  const { ids, from, kl: own, texts } = worst[0];
  const { student, teacher } = run.voices();
  for (const i of [0, texts.length - 1]) {
    const before = Uint32Array.from(ids.slice(0, from + i));
    const logits = { student: await student(before), teacher: await teacher?.(before) };
    const told = expectation({ token: ids[from + i], before }, logits, place.tokenizer);
    // The same kernels on one window instead of four: they round alike but for f16’s last bit.
    expect(told.kl).toBeCloseTo(own[i], 1);
    expect(texts[i].trim()).toBe(told.choices[told.said].text.trim());
  }
});

it('names the tensor in which numbers stop being finite, and changes nothing else', async () => {
  const name = 'h.0.mlp.c_fc.weight';
  const weights = initialWeights(run.student.parameters, new Random(1));
  weights.set(
    name,
    weights.get(name)!.map((w, i) => (i === 7 ? Number.NaN : w)),
  );
  const broken = async (nonFinite?: RunOptions['events']['nonFinite']) => {
    const other = await Run.create({
      ...place,
      config: { ...SMALL, train_steps: 4, eval_batches: 1, sample_tokens: 0 },
      student: { architecture: run.student, weights },
      events: { stage: () => {}, record: () => {}, evaluation: () => {}, nonFinite },
    });
    while (!other.done) await other.advance();
    const state = await other.save();
    await other.destroy();
    return state;
  };
  const seen: NonFiniteRecord[] = [];
  const traced = await broken((record) => seen.push(record));
  const label = run.dtype === 'f16' ? 'f16 weights' : 'master weights';
  expect(seen).toEqual([{ step: 1, tensor: `${label} ${name}` }]);
  expect(traced).toEqual(await broken());
});
