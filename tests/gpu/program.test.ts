// What a step costs: dispatches, submissions, new objects, memory. It gives the same bits each
// time. And what recording and composing kernels refuse.

import { expect, it, vi } from 'vitest';
import { DEFAULTS } from '../../src/config';
import type { StepRecord } from '../../src/distill/records';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { Trainer } from '../../src/distill/trainer';
import type { Gpu } from '../../src/gpu/device';
import { kernelFrom, type Specialisation } from '../../src/gpu/kernel';
import { bufferOf, Pool, persistentTensor, Recorder } from '../../src/gpu/program';
import { copy } from '../../src/kernels/copy';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { initialWeights } from '../../src/model/parameters';
import { Layout } from '../../src/tensor/layout';
import { Random } from '../../src/tensor/random';
import { openTestDevice, takeErrors } from './harness';
import { ADAM, batchOf, LIVE, startTrainer, TINY } from './students';
import { download, execute, openVariant, upload, zeros } from './variants';

const kernel = (gpu: Gpu, name: string, text: string, specialisation?: Specialisation) =>
  kernelFrom({ [`${name}.wgsl`]: text }, gpu, name, specialisation);

/** The methods of a device that create objects. */
const MAKERS = [
  ...[
    'createBuffer',
    'createBindGroup',
    'createBindGroupLayout',
    'createPipelineLayout',
    'createShaderModule',
  ],
  ...['createComputePipeline', 'createComputePipelineAsync', 'createTexture', 'createQuerySet'],
] as const;

/** Counts calls from now on. */
function watch({ device }: Gpu) {
  const creators = MAKERS.map((name) => vi.spyOn(device, name as 'createBuffer'));
  const submitted = vi.spyOn(device.queue, 'submit');
  const waited = vi.spyOn(device.queue, 'onSubmittedWorkDone');
  return {
    created: () =>
      Object.fromEntries(
        creators.map((spy, i) => [MAKERS[i], spy.mock.calls.length]).filter(([, count]) => count),
      ),
    /** But the empty ones, by which `Gpu.answered` asks again each second. */
    submissions: () => submitted.mock.calls.filter(([commands]) => [...commands].length > 0).length,
    waits: () => waited.mock.calls.length,
    end: () => [...creators, submitted, waited].forEach((spy) => void spy.mockRestore()),
  };
}

it('a default step has at most 150 dispatches and creates no objects', async () => {
  const gpu = await openTestDevice();
  const { submissionMilliseconds } = gpu;
  // As on a GPU, where a step takes milliseconds. Here it may take a second and would be cut.
  gpu.submissionMilliseconds = Number.POSITIVE_INFINITY;
  const dtype = gpu.adapter.f16 ? 'f16' : 'f32';
  const {
    max_length: T,
    student_layers: n_layer,
    student_width: n_embd,
    student_heads: n_head,
  } = DEFAULTS;
  const student: Gpt2Config = {
    ...TINY,
    vocab_size: 1024,
    n_positions: T,
    n_embd,
    n_layer,
    n_head,
  };
  const pool = new Pool(gpu);
  const weights = initialWeights(gpt2(student).parameters, new Random(1));
  // The built-in teacher's sizes.
  const larger = gpt2({ ...student, n_positions: 128, n_embd: 128, n_layer: 4, n_head: 4 });
  const teacherWeights = initialWeights(larger.parameters, new Random(2));
  const records: StepRecord[] = [];
  const make = async (B: number) => {
    const teacher = await teacherFromWeights(gpu, teacherWeights, larger, { B, T, dtype });
    const settings = {
      student: gpt2(student),
      dtype,
      batchSize: B,
      contextLength: T,
      loss: DEFAULTS,
      adam: ADAM,
      initialLossScale: 65536,
    } as const;
    const trainer = await Trainer.create(gpu, pool, settings, weights, teacher, (record) =>
      records.push(record),
    );
    return { teacher, trainer };
  };
  // A single sequence makes the same dispatches, and each is quicker.
  const B = 1;
  const { teacher, trainer } = await make(B);
  const whole = await make(DEFAULTS.batch_size);
  expect(whole.trainer.dispatches(1)).toBe(trainer.dispatches(1));
  whole.trainer.destroy();
  await whole.teacher.dispose();
  await trainer.prepare();
  const batch = batchOf(student, B, T, 1);
  // The first steps are measured, with a submission for each dispatch, but create nothing either.
  const MEASURED = 3;
  const STEPS = 20;
  const first = watch(gpu);
  for (let step = 1; step <= MEASURED; step++) {
    await trainer.step([batch], { ...LIVE, step });
    await trainer.drain();
  }
  expect(first.created()).toEqual({});
  first.end();

  const dispatched = vi.spyOn(Object.getPrototypeOf(passOf(gpu)), 'dispatchWorkgroups');
  const watched = watch(gpu);
  for (let step = 1; step <= STEPS; step++)
    await trainer.step([batch], { ...LIVE, step: MEASURED + step });
  await trainer.drain();
  const [created, submissions, waits] = [watched.created(), watched.submissions(), watched.waits()];
  watched.end();
  const perStep = dispatched.mock.calls.length / STEPS;
  dispatched.mockRestore();
  gpu.submissionMilliseconds = submissionMilliseconds;

  expect(created).toEqual({});
  expect(submissions).toBe(STEPS);
  expect(waits, 'results come only through the ring').toBe(0);
  expect(trainer.dispatches(1)).toBeLessThanOrEqual(150);
  // Including the teacher's.
  expect(perStep).toBeGreaterThan(trainer.dispatches(1));
  expect(perStep).toBeLessThanOrEqual(150);
  expect(records.map(({ tokens }) => tokens)).toEqual(Array(MEASURED + STEPS).fill(B * T));
  console.log(
    `A default step: ${trainer.dispatches(1)} dispatches; ${perStep} including the teacher's.`,
  );

  trainer.destroy();
  await teacher.dispose();
  pool.destroy();
});

function passOf({ device }: Gpu): GPUComputePassEncoder {
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.end();
  encoder.finish();
  return pass;
}

it.each(['f32', 'f16'] as const)(
  'the same run twice gives the same loss and gradient norm, bit for bit, in %s',
  async (dtype) => {
    const gpu = await openTestDevice();
    const run = async () => {
      const { step, end } = await startTrainer(gpu, { batchSize: 3, contextLength: 7, dtype });
      const losses: number[] = [];
      for (let i = 0; i < 50; i++) {
        const { loss, gradNorm } = await step([batchOf(TINY, 3, 7, i, i % 3)], {
          learningRate: 1e-2,
        });
        losses.push(loss, gradNorm);
      }
      await end();
      return losses;
    };
    if (dtype === 'f16' && !gpu.adapter.f16) {
      await expect(run()).rejects.toThrow(/does not compile[\s\S]*f16/);
      return void takeErrors();
    }
    const [first, second] = [await run(), await run()];
    expect(first).toHaveLength(100);
    expect(new Set(first).size, 'the run moves').toBeGreaterThan(90);
    expect(second).toEqual(first);
  },
);

it('uses as much memory after 1000 steps as after 10, and none after it ends', async () => {
  const gpu = await openTestDevice('memory'); // a device that no other test allocates on
  const before = gpu.memory.totals();
  const student = { ...TINY, n_layer: 1, n_embd: 8, vocab_size: 16 };
  const run = await startTrainer(gpu, { batchSize: 2, contextLength: 4, student });
  const batch = batchOf(student, 2, 4, 1);
  const many = async (count: number) => {
    for (let i = 0; i < count; i++)
      await run.trainer.step([batch], { ...LIVE, step: run.records.length + 1 });
    await run.trainer.drain();
  };
  await many(10);
  const early = gpu.memory.totals();
  const watched = watch(gpu);
  await many(990);
  expect(watched.created()).toEqual({});
  watched.end();
  expect(gpu.memory.totals()).toEqual(early);
  expect(run.records).toHaveLength(1000);
  expect(run.records[999]).toMatchObject({ applied: true, appliedTotal: 1000, skippedTotal: 0 });
  expect(run.records[999].loss).toBeLessThan(run.records[0].loss);
  expect(Object.keys(early).sort()).toEqual(
    [
      'activations',
      'data',
      'gradients',
      'metrics',
      'optimiser',
      'teacher',
      'weights',
      ...(early.logits ? ['logits'] : []),
    ].sort(),
  );
  await run.end();
  expect(gpu.memory.totals()).toEqual(before);
});

it('refuses a batch of another size every time, and continues with the right one', async () => {
  const run = await startTrainer(await openVariant('one lane'), { batchSize: 2, contextLength: 4 });
  // More often than the ring has buffers, since each of them must become free again.
  for (let i = 0; i < 20; i++) {
    await expect(run.step([batchOf(TINY, 2, 5, 1)])).rejects.toThrow(
      'a batch of 10 tokens; this trainer takes 2 × 4',
    );
  }
  expect(await run.step([batchOf(TINY, 2, 4, 1)])).toMatchObject({
    applied: true,
    appliedTotal: 1,
  });
  await run.end();
}, 30_000);

it('counts memory by purpose, and buffers that others create as the teacher’s', async () => {
  const gpu = await openTestDevice('memory');
  expect(gpu.memory.totals()).toEqual({});
  const weights = gpu.memory.create('weights', 'a', 100);
  const more = gpu.memory.create('weights', 'b', 6);
  const logits = gpu.memory.create('logits', 'c', 0);
  const foreign = gpu.device.createBuffer({ size: 64, usage: GPUBufferUsage.STORAGE });
  expect(gpu.memory.totals()).toEqual({ weights: 108, logits: 4, teacher: 64 });
  for (const buffer of [more, logits]) gpu.memory.destroy(buffer);
  foreign.destroy();
  expect(gpu.memory.totals()).toEqual({ weights: 100 });
  gpu.memory.destroy(weights);
  expect(gpu.memory.totals()).toEqual({});
});

it('activations share buffers over time, and never within a dispatch', async () => {
  const gpu = await openVariant('one lane');
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  const input = upload(gpu, 'input', [0.5, -1, 2, 3], [4]);
  const output = zeros(gpu, 'output', [4]);
  const between = Array.from({ length: 5 }, (_, i) =>
    recorder.tensor(`x${i}`, Layout.contiguous([4]), 'f32'),
  );
  const chain = [input, ...between, output];
  for (let i = 0; i + 1 < chain.length; i++) copy(recorder, chain[i], chain[i + 1]);
  expect(() => bufferOf(between[0])).toThrow(
    'x0 has no buffer yet; build the Program that makes it first.',
  );
  const program = await recorder.build('chain');
  expect(program.length).toBe(6);
  expect(pool.buffers).toHaveLength(2);
  for (let i = 0; i + 1 < between.length; i++)
    expect(bufferOf(between[i])).not.toBe(bufferOf(between[i + 1]));
  program.destroy();
  pool.destroy();
});

const DOUBLE = `
struct Params { count: u32, factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = params.factor * x[id.x]; }
}
`;

it('recording refuses missing and unknown names, and grids beyond the limit', async () => {
  const gpu = await openTestDevice();
  const recorder = new Recorder(gpu, new Pool(gpu));
  const double = kernel(gpu, 'double', DOUBLE);
  const [x, y] = ['x', 'y'].map((name) =>
    persistentTensor(gpu, 'data', name, Layout.contiguous([4]), 'f32'),
  );
  const params = { count: 4, factor: 2 };
  expect(() => recorder.dispatch(double, { x }, params, [1])).toThrow(
    'Kernel double: bindings: missing [y], unknown []; the kernel declares [x,y].',
  );
  expect(() => recorder.dispatch(double, { x, y, z: y }, params, [1])).toThrow(
    'missing [], unknown [z]',
  );
  expect(() => recorder.dispatch(double, { x, y }, { count: 4 }, [1])).toThrow(
    'params: missing [factor], unknown []',
  );
  expect(() => recorder.dispatch(double, { x, y }, { ...params, size: 1 }, [1])).toThrow(
    'unknown [size]',
  );
  const limit = gpu.device.limits.maxComputeWorkgroupsPerDimension;
  for (const grid of [[limit + 1], [0], [1, 1.5], [1, 1, limit + 1]] as [
    number,
    number?,
    number?,
  ][]) {
    expect(() => recorder.dispatch(double, { x, y }, params, grid)).toThrow(
      `Kernel double: a grid of ${grid.join(' × ')} workgroups; each must be 1 to ${limit}.`,
    );
  }
  recorder.dispatch(double, { x, y }, params, [1]);
  gpu.device.queue.writeBuffer(bufferOf(x), 0, new Float32Array([1, 2, 3, 4]));
  const program = await recorder.build('double');
  const encoder = gpu.device.createCommandEncoder();
  program.encode(encoder);
  gpu.device.queue.submit([encoder.finish()]);
  expect([...new Float32Array(await gpu.read(bufferOf(y)))]).toEqual([2, 4, 6, 8]);
  program.destroy();
  for (const tensor of [x, y]) gpu.memory.destroy(bufferOf(tensor));
});

it('a compile error names the file and line, and shows the line', async () => {
  const gpu = await openTestDevice();
  const broken = kernel(
    gpu,
    'broken',
    DOUBLE.replace('params.factor * x[id.x]', 'params.factor * z[id.x]'),
  );
  // Line 8 of the text above, which begins with an empty line.
  await expect(broken.ready).rejects.toThrow(
    /^Kernel broken does not compile\.\nbroken\.wgsl:8: .*z.*\n +if \(id\.x < params\.count\)/,
  );
  expect(() => broken.pipeline).toThrow(
    'Kernel broken is not compiled yet; await its ready promise first.',
  );
  expect(takeErrors().length).toBeGreaterThan(0);
  expect(() => kernel(gpu, 'bare', '@compute @workgroup_size(1) fn main() {}')).toThrow(
    'Kernel bare declares no binding in group 0.',
  );
});

it('a compile error in a repeated or included line names where the line was written', async () => {
  const gpu = await openTestDevice();
  const text = DOUBLE.replace(
    'if (id.x < params.count) { y[id.x] = params.factor * x[id.x]; }',
    `var sum = 0.0;
#for i < TWO
  #for j < 3
  sum += f32(10 * $i + $j);
  #endfor
#endfor
  y[id.x] = sum + one();`,
  );
  const y = zeros(gpu, 'y', [1]);
  const run = (main: string, one: string) =>
    execute(gpu, (recorder) => {
      const sources = { 'main.wgsl': `#include "one.wgsl"\n${main}`, 'one.wgsl': one };
      const k = kernelFrom(sources, gpu, 'main', { constants: { TWO: 2 } });
      recorder.dispatch(k, { x: zeros(gpu, 'x', [1]), y }, { count: 1, factor: 1 }, [1]);
    });
  const one = '// 1, for a test.\nfn one() -> f32 {\n  return 1.0;\n}';
  await run(text, one);
  expect([...(await download(gpu, y))]).toEqual([0 + 1 + 2 + 10 + 11 + 12 + 1]);
  const line = text.split('\n').findIndex((written) => written.includes('$j);')) + 2;
  await expect(run(text.replace('sum += f32', 'sum += f64'), one)).rejects.toThrow(
    new RegExp(
      `Kernel main does not compile\\.\nmain\\.wgsl:${line}: .*\n +sum \\+= f64\\(10 \\* 0 \\+ 0`,
    ),
  );
  await expect(run(text, one.replace('1.0', 'nowhere'))).rejects.toThrow('one.wgsl:3: ');
  takeErrors();
});

it('a kernel is compiled once for each text, whatever its name', async () => {
  const gpu = await openTestDevice();
  const text = `${DOUBLE}// only here`;
  const first = kernel(gpu, 'once', text);
  expect(kernel(gpu, 'once', text)).toBe(first);
  expect(kernel(gpu, 'once', text.replace('params.factor *', '3 *'))).not.toBe(first);
  expect(kernel(gpu, 'once', text, { constants: { UNUSED: 1 } })).not.toBe(first);
});
