// One training step of the story's pair at full size, with random weights: the shape of
// microsoft/DialoGPT-medium teaches that of distilgpt2. Compares its memory with the plan, times
// it, and writes figures that story_pair.py compares with PyTorch in float32.
//
//   node src/cli/run.mjs tests/bench/story-pair [--batch 4] [--length 128] [--dtype f16|f32]
//     [--cached K] [--small] [--out FILE]
//
// Weights and tokens come from a formula (formula.ts), also in story_pair.py, so that 1.7 GB need
// not be written. --small is a pair of the same build that takes seconds. --cached K keeps the
// teacher's K most likely tokens (0: all) in a file, and runs the step without the teacher in
// memory.

import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openCacheStorage } from '../../src/cli/cache-storage';
import { openDawn } from '../../src/cli/dawn';
import { memoryText } from '../../src/cli/progress';
import { type Config, DEFAULTS } from '../../src/config';
import type { StepRecord } from '../../src/distill/records';
import { buildRunModels, planMemory } from '../../src/distill/run-models';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { openCache } from '../../src/distill/teacher/open-cache';
import type { MakeTeacher } from '../../src/distill/teacher/teacher';
import { openGpu } from '../../src/gpu/device';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { batchOf, weightsOf } from './formula';

const { values: flags } = parseArgs({
  options: {
    batch: { type: 'string', default: '4' },
    length: { type: 'string', default: '128' },
    dtype: { type: 'string', default: 'f16' },
    cached: { type: 'string' },
    small: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const [B, T] = [Number(flags.batch), Number(flags.length)];
const dtype = flags.dtype === 'f32' ? 'f32' : 'f16';

const common = {
  n_positions: 1024,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
} as const;
const sizes = flags.small
  ? { teacher: [97, 64, 3, 4], student: [97, 48, 2, 3] }
  : { teacher: [50257, 1024, 24, 16], student: [50257, 768, 6, 12] };
const shape = ([vocab_size, n_embd, n_layer, n_head]: number[]) =>
  gpt2({ ...common, vocab_size, n_embd, n_layer, n_head });
const [teacherConfig, student] = [shape(sizes.teacher), shape(sizes.student)];

const batch = batchOf(B, T, student.vocabularySize);

const gpu = await openGpu(await openDawn());
const config: Config = {
  ...DEFAULTS,
  batch_size: B,
  max_length: T,
  temperature: 2,
  alpha: 0.7,
  student_lr: 5e-6,
  ...(flags.cached !== undefined && { teacher_cache: 'on', cache_top_k: Number(flags.cached) }),
};
const options = { gpu, config, dtype, student } as const;
const plan: MakeTeacher = (counting, at) =>
  teacherFromWeights(counting, undefined, teacherConfig, at);
const planned = await planMemory({ ...options, makeTeacher: plan });
console.log(`${gpu.adapter.name}, ${dtype}, ${B} × ${T}. Planned: ${memoryText(planned)}`);

/** The teacher's entries of the batch, in a temporary file. */
async function writeCache() {
  const folder = await mkdtemp(join(tmpdir(), 'stillhouse-story-pair-'));
  process.on('exit', () => rmSync(folder, { recursive: true }));
  const opened = await openCache({
    ...build,
    place: {
      open: () => openCacheStorage(join(folder, 'cache')),
      teacher: 'a formula',
      note: console.log,
    },
    batches: { count: 1, at: () => batch, heldOut: [] },
    sample: async () => undefined,
    progress: () => {},
  });
  if (!opened || 'teacher' in opened) throw new Error('The cache could not be written; see above.');
  return opened;
}

const clock = () => performance.now() / 1000;
const began = clock();
const records: StepRecord[] = [];
const build = {
  ...options,
  makeTeacher: ((on, at) =>
    teacherFromWeights(on, weightsOf('teacher', teacherConfig), teacherConfig, at)) as MakeTeacher,
  weights: () => weightsOf('student', student),
};
const cache = config.teacher_cache === 'on' ? await writeCache() : undefined;
if (cache)
  console.log(
    `${(clock() - began).toFixed(0)} s  cached. Counted: ${memoryText(gpu.memory.totals())}`,
  );
const models = await buildRunModels({
  ...build,
  cache,
  events: {
    stage: (stage, detail) => console.log(`${(clock() - began).toFixed(0)} s  ${stage}: ${detail}`),
    record: (record) => records.push(record),
  },
});
await gpu.idle();
const built = clock();
const before = gpu.memory.totals();
console.log(`${(built - began).toFixed(0)} s  built. Counted: ${memoryText(before)}`);
const { temperature, alpha, student_lr: learningRate } = config;
await models.trainer.step([batch], { step: 1, learningRate, temperature, alpha });
await models.trainer.drain();
const seconds = clock() - built;
const counted = gpu.memory.totals();
const [record] = records;
console.log(
  `One step: ${seconds.toFixed(1)} s, loss ${record.loss}, ` +
    `${record.applied ? 'applied' : 'skipped'}.`,
);

/** The norm of each parameter's gradient, without the loss scale. */
const gradients: Record<string, number> = {};
for (const [name, values] of await models.trainer.gradients.read()) {
  let sum = 0;
  for (const value of values) sum += (value / record.lossScale) ** 2;
  gradients[name] = Math.sqrt(sum);
}
const total = (totals: object) => Object.values(totals).reduce((a: number, b: number) => a + b, 0);
const constant = total(before) === total(counted);
const difference = total(planned) / total(counted) - 1;
console.log(
  `Memory: ${memoryText(counted)}\nThe plan differs by ${(100 * difference).toFixed(2)}%; ` +
    `${constant ? 'constant over the step' : 'it changed during the step'}.`,
);
if (flags.out) {
  const result = {
    adapter: gpu.adapter.name,
    dtype,
    B,
    T,
    temperature,
    alpha,
    teacher: teacherConfig,
    student,
    record,
    gradients,
    planned,
    counted,
    buildSeconds: built - began,
    stepSeconds: seconds,
  };
  await writeFile(flags.out, `${JSON.stringify(result, null, 1)}\n`);
}
// The targets: a plan within 2%, and memory that does not grow.
const passed = Math.abs(difference) < 0.02 && constant && record.applied;
if (!passed)
  console.error(
    'story-pair: the plan is off by 2% or more, memory changed, or the step was skipped.',
  );
process.exit(passed ? 0 : 1);
