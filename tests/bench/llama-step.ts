// One training step of HuggingFaceTB/SmolLM2-135M's shape at full size, with random weights: its
// loss, gradients and memory. Writes a folder that llama_step.py computes in PyTorch.
//
//   node src/cli/run.mjs tests/bench/llama-step --out FOLDER [--batch 2] [--length 256]
//     [--dtype f16|f32] [--recompute] [--small]
//
// Every weight is a float16 number, so that both storage types start from the same ones. --small is
// a model of the same build that takes seconds.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openDawn } from '../../src/cli/dawn';
import { memoryText } from '../../src/cli/progress';
import { type Config, DEFAULTS } from '../../src/config';
import type { StepRecord } from '../../src/distill/records';
import { buildRunModels, planMemory } from '../../src/distill/run-models';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import type { MakeTeacher } from '../../src/distill/teacher/teacher';
import { openGpu } from '../../src/gpu/device';
import { parseConfig } from '../../src/model/families';
import { initialWeights } from '../../src/model/parameters';
import { saveWeights } from '../../src/model/weights';
import { roundToHalf } from '../../src/tensor/dtype';
import { Random } from '../../src/tensor/random';
import { batchOf } from './formula';

const { values: flags } = parseArgs({
  options: {
    batch: { type: 'string', default: '2' },
    length: { type: 'string', default: '256' },
    dtype: { type: 'string', default: 'f16' },
    recompute: { type: 'boolean', default: false },
    small: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
if (!flags.out) throw new Error('llama-step: --out FOLDER is required.');
const [B, T] = [Number(flags.batch), Number(flags.length)];
const dtype = flags.dtype === 'f32' ? 'f32' : 'f16';

const smollm2 = {
  model_type: 'llama',
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 100_000,
  tie_word_embeddings: true,
};
const small = { vocab_size: 512, hidden_size: 144, intermediate_size: 384, num_hidden_layers: 3 };
const student = parseConfig({ ...smollm2, ...(flags.small && small) });
const batch = batchOf(B, T, student.vocabularySize);

const gpu = await openGpu(await openDawn());
const config: Config = {
  ...DEFAULTS,
  batch_size: B,
  max_length: T,
  loss: 'ce',
  student_lr: 5e-6,
  gradient_checkpointing: flags.recompute ? 'on' : 'off',
};
// The evaluator compares with a teacher; this one takes next to nothing.
const teacher = student.family.create({
  vocabularySize: student.vocabularySize,
  contextWindow: T,
  width: 16,
  layers: 1,
  heads: 2,
});
const makeTeacher: MakeTeacher = (on, at) => teacherFromWeights(on, undefined, teacher, at);
const options = { gpu, config, dtype, student, makeTeacher } as const;
const planned = await planMemory(options);
console.log(`${gpu.adapter.name}, ${dtype}, ${B} × ${T}. Planned: ${memoryText(planned)}`);

const weights = initialWeights(student.parameters, new Random(1));
for (const values of weights.values())
  for (const [i, value] of values.entries()) values[i] = roundToHalf(value);
await mkdir(flags.out, { recursive: true });
const write = (name: string, data: string | Uint8Array) =>
  writeFile(join(flags.out as string, name), data);
await write('config.json', JSON.stringify(student.formatConfig('float16')));
await write('model.safetensors', saveWeights(student, weights, 'F16'));

const clock = () => performance.now() / 1000;
const began = clock();
const records: StepRecord[] = [];
const models = await buildRunModels({
  ...options,
  weights: () => weights,
  events: { stage: () => {}, record: (record) => records.push(record) },
});
await gpu.idle();
const built = clock();
const before = gpu.memory.totals();
const { student_lr: learningRate } = config;
await models.trainer.step([batch], { step: 1, learningRate, temperature: 1, alpha: 0 });
await models.trainer.drain();
const stepSeconds = clock() - built;
const counted = gpu.memory.totals();
const [record] = records;
console.log(
  `Built in ${(built - began).toFixed(0)} s, a step in ${stepSeconds.toFixed(1)} s, ` +
    `loss ${record.loss}, ${record.applied ? 'applied' : 'skipped'}.`,
);

/** The norm of each parameter's gradient, without the loss scale. */
const gradients: Record<string, number> = {};
for (const [name, values] of await models.trainer.gradients.read()) {
  let sum = 0;
  for (const value of values) sum += (value / record.lossScale) ** 2;
  gradients[student.tensorNames.stored(name)] = Math.sqrt(sum);
}
const same = JSON.stringify([before, counted]) === JSON.stringify([planned, planned]);
console.log(`Counted: ${memoryText(counted)}: ${same ? 'as planned' : 'NOT as planned'}.`);
const { inputs, targets } = batch;
const result = { adapter: gpu.adapter.name, dtype, B, T, record, gradients, planned, counted };
await write(
  'step.json',
  JSON.stringify({ ...result, stepSeconds, inputs: [...inputs], targets: [...targets] }),
);
process.exit(same && record.applied ? 0 : 1);
