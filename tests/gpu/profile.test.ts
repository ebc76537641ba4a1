// The profile of a step: the cost and time of each dispatch of a default step. Measuring changes
// nothing.

import { afterEach, expect, it, vi } from 'vitest';
import { DEFAULTS } from '../../src/config';
import { summarise } from '../../src/distill/profile/profile';
import { profileText } from '../../src/distill/profile/profile-text';
import { rooflineOf } from '../../src/distill/profile/roofline';
import { newStudent } from '../../src/distill/run-setup';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { Trainer } from '../../src/distill/trainer';
import type { Gpu } from '../../src/gpu/device';
import { bytesOf, Pool, Recorder } from '../../src/gpu/program';
import { matmul } from '../../src/kernels/matmul';
import { NEW_STUDENT_FAMILY } from '../../src/model/families';
import type { ModelSizes } from '../../src/model/family';
import { initialWeights, planArena } from '../../src/model/parameters';
import { Layout } from '../../src/tensor/layout';
import { Random } from '../../src/tensor/random';
import { openTestDevice } from './harness';
import { ADAM, batchOf, LIVE, startTrainer, TINY } from './students';
import { openVariant, zeros } from './variants';

afterEach(() => void vi.restoreAllMocks());

const V = 1024;
const STUDENT = newStudent(DEFAULTS, { vocabularySize: V });
/** A teacher that runs on our engine, so that the profile covers a whole step. */
const TEACHER = NEW_STUDENT_FAMILY.create({
  vocabularySize: V,
  contextWindow: DEFAULTS.max_length,
  width: 128,
  layers: DEFAULTS.student_layers,
  heads: 4,
});

it('each dispatch of a default step has a cost and a time, and the times add up', async () => {
  const gpu = await openTestDevice();
  const dtype = gpu.adapter.f16 ? 'f16' : 'f32';
  const { batch_size: B, max_length: T } = DEFAULTS;
  const pool = new Pool(gpu);
  const teacher = await teacherFromWeights(
    gpu,
    initialWeights(TEACHER.parameters, new Random(1)),
    TEACHER,
    {
      B,
      T,
      dtype,
    },
  );
  const trainer = await Trainer.create(
    gpu,
    pool,
    {
      student: STUDENT,
      dtype,
      batchSize: B,
      contextLength: T,
      loss: DEFAULTS,
      adam: ADAM,
      initialLossScale: 1024,
    },
    initialWeights(STUDENT.parameters, new Random(2)),
    teacher,
    () => {},
  );
  const times = await trainer.profile([batchOf({ vocab_size: V }, B, T, 1)], { ...LIVE, step: 1 });
  expect(
    times.phases.map(({ phase, runsPerStep, wallClock }) => [phase, runsPerStep, wallClock]),
  ).toEqual([
    ['teacher', 1, false],
    ['student', 1, false],
    ['optimiser', 1, false],
  ]);
  for (const { phase, repetitions } of times.phases) {
    expect(repetitions.length).toBe(times.step.length);
    for (const { label, flops, bytes } of repetitions[0]) {
      expect(flops, `${phase}: ${label}`).toBeGreaterThan(0);
      expect(bytes, `${phase}: ${label}`).toBeGreaterThan(0);
    }
  }

  const roofline = await rooflineOf(gpu);
  const report = summarise(times, roofline);
  const part = (name: string) =>
    report.phases.find((row) => row.name === name) as (typeof report.phases)[0];
  expect(report.dispatches).toBe(times.phases[0].repetitions[0].length + trainer.dispatches(1));
  for (const { kernels } of report.phases) {
    for (const { name, nanoseconds } of kernels) expect(nanoseconds, name).toBeGreaterThan(0);
  }
  // Per weight and token, the forward product takes two operations, and so does each of the two
  // backward ones. The head shares the embedding's weights.
  const rows = B * T;
  const weights = ({ layers, width: C }: ModelSizes) => 12 * layers * C * C;
  const products = (name: string) =>
    part(name).kernels.filter((kernel) => kernel.name.startsWith('matmul'));
  const productFlops = (name: string) => products(name).reduce((sum, { flops }) => sum + flops, 0);
  const head = 2 * rows * V * STUDENT.width;
  const teacherHead = 2 * rows * V * TEACHER.width;
  expect(productFlops('teacher')).toBe(2 * rows * weights(TEACHER));
  expect(productFlops('student')).toBe(6 * rows * weights(STUDENT) + 3 * head + teacherHead);
  const kinds = products('student').flatMap((kernel) =>
    kernel.kinds.map(({ name, dispatches }) => [name, dispatches]),
  );
  expect(kinds).toHaveLength(4 * 3 + 4);
  const layers = STUDENT.layers;
  expect(kinds).toEqual(
    expect.arrayContaining([
      ['attn.c_attn', layers],
      ['mlp.c_proj dw', layers],
      ['teacher head', 1],
    ]),
  );
  // Reads the gradient; reads and writes the master weights and two moments; in f16 writes a copy
  // of two bytes. The gaps in the arena count too.
  const { count } = planArena(STUDENT.parameters);
  const adamw = part('optimiser').kernels.find(({ name }) => name === 'adamw');
  expect(adamw?.bytes).toBe(count * (dtype === 'f16' ? 30 : 28));

  // Dispatches timed one by one do not overlap, and the step's time includes the calls. On a shared
  // machine the two differ by up to three times.
  const ratio = report.nanoseconds / 1e6 / report.stepMilliseconds;
  expect(ratio, profileText(report, gpu.adapter.name)).toBeGreaterThan(0.3);
  expect(ratio, profileText(report, gpu.adapter.name)).toBeLessThan(3);
  trainer.destroy();
  await teacher.dispose();
  pool.destroy();
}, 60_000);

/** Everything that a run continues from. */
async function stateOf({
  trainer,
}: Awaited<ReturnType<typeof startTrainer>>): Promise<Record<string, Uint32Array>> {
  const { step: _, ...snapshot } = await trainer.snapshot(0);
  const all = { ...snapshot, weights: await trainer.weights.save() };
  return Object.fromEntries(
    Object.entries(all).map(([name, bytes]) => [name, new Uint32Array(bytes)]),
  );
}

it('profiling or rehearsing changes neither the state’s bits nor the records', async () => {
  const gpu = await openTestDevice();
  const sizes = { batchSize: 2, contextLength: 4, dtype: gpu.adapter.f16 ? 'f16' : 'f32' } as const;
  const batch = (salt: number) => batchOf(TINY, 2, 4, salt);
  const runs = await Promise.all([startTrainer(gpu, sizes), startTrainer(gpu, sizes)]);
  const [plain, measured] = runs;
  const memory = gpu.memory.totals();
  const profile = (signal?: AbortSignal) =>
    measured.trainer.profile([batch(7), batch(8)], { ...LIVE, step: 1 }, signal);
  for (const { step } of runs) await step([batch(1)]);
  const before = await stateOf(measured);
  await profile();
  expect(await stateOf(measured)).toEqual(before);
  expect(gpu.memory.totals()).toEqual(memory);
  // Aborting after a step restores the state too.
  const stop = new AbortController();
  stop.abort(new Error('Enough.'));
  await expect(profile(stop.signal)).rejects.toThrow('Enough.');
  expect(await stateOf(measured)).toEqual(before);
  await measured.trainer.rehearse([batch(9)], { ...LIVE, step: 1 });
  expect(await stateOf(measured)).toEqual(before);
  for (const { step } of runs) await step([batch(2)]);
  expect(measured.records).toEqual(plain.records);
  expect(measured.records).toHaveLength(2);
  expect(await stateOf(measured)).toEqual(await stateOf(plain));
  expect(await stateOf(measured)).not.toEqual(before);
  for (const { end } of runs) await end();
}, 60_000);

it('a teacher that runs outside our engine is one row, timed by the wall clock', async () => {
  const gpu = await openTestDevice();
  const run = await startTrainer(gpu, { batchSize: 2, contextLength: 4 });
  const times = await run.trainer.profile([batchOf(TINY, 2, 4, 1)], { ...LIVE, step: 1 });
  const [teacher] = summarise(times, { flopsPerSecond: 1e9, bytesPerSecond: 1e9 }).phases;
  expect(teacher).toMatchObject({
    name: 'teacher',
    wallClock: true,
    dispatches: 1,
    flops: 0,
    bytes: 0,
  });
  expect(teacher.nanoseconds).toBeGreaterThan(0);
  await run.end();
}, 60_000);

it('without timestamps the error says what may help, and the run continues', async () => {
  const gpu = await openTestDevice();
  const run = await startTrainer(gpu, { batchSize: 2, contextLength: 4 });
  const before = await stateOf(run);
  withoutTimestamps(gpu);
  const batch = batchOf(TINY, 2, 4, 1);
  await expect(run.trainer.profile([batch], { ...LIVE, step: 1 })).rejects.toMatchObject({
    message: 'Profiling gradients needs the timestamp-query feature, which this adapter lacks.',
    hint: 'Chrome and Edge have it on most machines; a newer graphics driver may add it.',
  });
  expect(await stateOf(run)).toEqual(before);
  expect(await run.step([batch])).toMatchObject({ step: 1, applied: true });
  await run.end();
}, 30_000);

function withoutTimestamps({ device }: Gpu): void {
  const { features } = device;
  vi.spyOn(device, 'features', 'get').mockReturnValue({
    has: (name: string) => name !== 'timestamp-query' && features.has(name),
  } as unknown as GPUSupportedFeatures);
}

it('the roofline is measured once, agrees with the clock, and frees its memory', async () => {
  const gpu = await openTestDevice();
  const before = gpu.memory.totals();
  const measuring = rooflineOf(gpu);
  expect(rooflineOf(gpu)).toBe(measuring);
  const { bytesPerSecond } = await measuring;
  expect(gpu.memory.totals()).toEqual(before);
  const bytes = 2 ** 24;
  const [from, to] = ['from', 'to'].map((label) => gpu.memory.create('data', label, bytes));
  const seconds: number[] = [];
  for (let i = 0; i < 5; i++) {
    const encoder = gpu.device.createCommandEncoder();
    for (let k = 0; k < 4; k++) encoder.copyBufferToBuffer(from, 0, to, 0, bytes);
    const started = performance.now();
    gpu.device.queue.submit([encoder.finish()]);
    await gpu.idle();
    seconds.push((performance.now() - started) / 1000);
  }
  // Smaller buffers may be cached, and the machine is shared, so the two agree only roughly.
  const ratio = bytesPerSecond / ((4 * 2 * bytes) / Math.min(...seconds));
  expect(ratio).toBeGreaterThan(0.1);
  expect(ratio).toBeLessThan(10);
  for (const buffer of [from, to]) gpu.memory.destroy(buffer);
}, 60_000);

it('without room for the roofline’s buffers it fails, and a second try can succeed', async () => {
  const gpu = await openVariant('one lane');
  vi.spyOn(gpu.device, 'popErrorScope').mockResolvedValueOnce({
    message: 'Not enough memory left.',
  } as GPUError);
  const before = gpu.memory.totals();
  await expect(rooflineOf(gpu)).rejects.toThrow(
    'The GPU has no room for another 134 MB: Not enough memory left.',
  );
  expect(gpu.memory.totals()).toEqual(before);
  expect((await rooflineOf(gpu)).flopsPerSecond).toBeGreaterThan(1e6);
}, 60_000);

it('a dispatch’s bytes are what it reads and writes, repeated elements counted once', async () => {
  const gpu = await openTestDevice();
  const x = zeros(gpu, 'x', [3, 4]);
  expect(bytesOf(x)).toBe(48);
  expect(bytesOf({ ...x, layout: x.layout.narrow(1, 1, 2) }, x)).toBe(24 + 48);
  const one = zeros(gpu, 'one', [1]);
  expect(bytesOf({ ...one, layout: new Layout([3, 4], [0, 0], 0) })).toBe(4);
  const recorder = new Recorder(gpu, new Pool(gpu));
  matmul(recorder, x, zeros(gpu, 'w', [4, 2]), zeros(gpu, 'y', [3, 2]), { label: 'product' });
  const program = await recorder.build('plain');
  const [time] = await program.profile();
  expect(time).toMatchObject({ label: 'product', flops: 2 * 3 * 2 * 4, bytes: 48 + 32 + 24 });
  program.destroy();
});
