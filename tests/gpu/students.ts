// Shared by the tests of training: a tiny GPT-2, batches for it, and a teacher whose logits are a
// formula.

import { type Config, DEFAULTS } from '../../src/config';
import type { Batch } from '../../src/data/batches';
import type { StepRecord } from '../../src/distill/records';
import type { TrainerSettings } from '../../src/distill/settings';
import type { Teacher } from '../../src/distill/teacher/teacher';
import { Trainer } from '../../src/distill/trainer';
import { CommandBatch } from '../../src/gpu/command-batch';
import type { Gpu } from '../../src/gpu/device';
import { bufferOf, Pool, persistentTensor, Recorder } from '../../src/gpu/program';
import { gatherRows } from '../../src/kernels/aligned';
import type { Architecture } from '../../src/model/family';
import type { AttentionHeads } from '../../src/model/gpt2/attention';
import { type Gpt2Config, parametersOf } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import * as reference from '../../src/reference';
import { toHalf } from '../../src/tensor/dtype';
import { Layout } from '../../src/tensor/layout';
import { stored } from './variants';

/** Sizes that no kernel's workgroup divides. */
export const TINY: Gpt2Config = {
  vocab_size: 37,
  n_positions: 9,
  n_embd: 16,
  n_layer: 2,
  n_head: 2,
  layer_norm_epsilon: 1e-5,
  activation_function: 'gelu_new',
};

/**
 * Weights that f16 represents exactly, so that both storage types start alike. None is zero
 * throughout, biases included.
 */
export function weightsOf(config: Gpt2Config, salt = 1): Map<string, Float32Array> {
  return new Map(
    parametersOf(config).map(({ name, shape }, i) => {
      const values = reference.numbers(
        shape.reduce((a, b) => a * b),
        salt * 100 + i,
        0.3,
      );
      const gain = /ln_\w+\.weight$/.test(name) ? 1 : 0;
      return [
        name,
        Float32Array.from(
          stored(
            values.map((v) => v + gain),
            'f16',
          ),
        ),
      ];
    }),
  );
}

/** The same weights in the slow twin's format. */
export function referenceWeights(
  config: Gpt2Config,
  weights: ReadonlyMap<string, Float32Array>,
): reference.Weights {
  return Object.fromEntries(
    parametersOf(config).map(({ name, shape }) => [
      name,
      { shape, data: weights.get(name) as Float32Array },
    ]),
  );
}

/**
 * Tokens that look random, each row's targets the tokens that follow; of every 5 targets,
 * `ignoredOf5` are ignored.
 */
export function batchOf(
  config: Pick<Gpt2Config, 'vocab_size'>,
  B: number,
  T: number,
  salt: number,
  ignoredOf5 = 0,
): Batch {
  const V = config.vocab_size;
  const token = (i: number) => (i * i * 7 + i * 3 + salt * 11) % V;
  return {
    index: 0,
    inputs: Uint32Array.from({ length: B * T }, (_, i) => token(i)),
    targets: Int32Array.from({ length: B * T }, (_, i) =>
      i % 5 < ignoredOf5 ? -100 : token(i + 1),
    ),
  };
}

/** Concatenates batches. */
export const joined = (batches: Batch[]): Batch => ({
  index: 0,
  inputs: Uint32Array.from(batches.flatMap(({ inputs }) => [...inputs])),
  targets: Int32Array.from(batches.flatMap(({ targets }) => [...targets])),
});

/** (rows, V): the logits of the teacher below, rounded to f16. */
export function formulaLogits(inputs: Uint32Array, V: number): Float64Array {
  const logits = Float64Array.from({ length: inputs.length * V }, (_, i) => {
    return 3 * Math.sin(inputs[Math.floor(i / V)] * 7 + (i % V) * 1.3);
  });
  return stored(logits, 'f16');
}

/** A teacher without a model: `formulaLogits` of each batch. */
export function formulaTeacher(
  gpu: Gpu,
  config: Pick<Gpt2Config, 'vocab_size'>,
  B: number,
  T: number,
  dtype: 'f16' | 'f32',
): Teacher {
  const all = persistentTensor(
    gpu,
    'teacher',
    'formula',
    Layout.contiguous([B * T, config.vocab_size]),
    dtype,
  );
  return {
    parameters: 0,
    logits: (_, first, count) => ({ ...all, layout: all.layout.narrow(0, first, count) }),
    aligned: {
      vocabularySize: config.vocab_size,
      logits(recorder, spans, first, count) {
        const layout = Layout.contiguous([count, config.vocab_size]);
        const rows = recorder.tensor('formula rows', layout, 'f32');
        gatherRows(recorder, { source: all, spans, rows, first });
        return rows;
      },
    },
    generate: () => Promise.reject(new Error('A formula continues no text.')),
    next: () => Promise.reject(new Error('A formula continues no text.')),
    async enqueue({ inputs }) {
      const values = Float32Array.from(formulaLogits(inputs, config.vocab_size));
      const bytes = new Uint8Array(bufferOf(all).size);
      bytes.set(new Uint8Array((dtype === 'f16' ? toHalf(values) : values).buffer));
      gpu.device.queue.writeBuffer(bufferOf(all), 0, bytes);
    },
    async dispose() {
      gpu.memory.destroy(bufferOf(all));
    },
  };
}

/** (rows, V): an engine teacher's logits of a batch. */
export async function readTeacherLogits(
  gpu: Gpu,
  teacher: Teacher,
  inputs: Uint32Array,
  documents?: Uint32Array,
): Promise<Float32Array> {
  const pool = new Pool(gpu);
  const recorder = new Recorder(gpu, pool);
  const logits = teacher.logits(recorder, 0, inputs.length);
  const program = await recorder.build('teacher logits');
  const commands = new CommandBatch(gpu, 'teacher logits');
  await teacher.enqueue({ index: 0, inputs, documents }, commands);
  commands.run(program);
  await commands.submit();
  const values = new Float32Array(await gpu.read(bufferOf(logits), 0, logits.place.bytes));
  program.destroy();
  pool.destroy();
  return values;
}

export const ADAM = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, maxGradNorm: 1 };

/** AdamW and clipping as a golden's settings name them. */
export const adamOf = (
  golden: Record<'beta1' | 'beta2' | 'eps' | 'weight_decay' | 'clip', number>,
): TrainerSettings['adam'] => ({
  beta1: golden.beta1,
  beta2: golden.beta2,
  epsilon: golden.eps,
  weightDecay: golden.weight_decay,
  maxGradNorm: golden.clip,
});

export const LIVE = { learningRate: 1e-3, temperature: 2, alpha: 0.7 };

/** A trainer of the tiny GPT-2, with its records; `end` frees everything. */
export async function startTrainer(
  gpu: Gpu,
  settings: Partial<Omit<TrainerSettings, 'loss' | 'student'>> & {
    student?: Gpt2Config;
    heads?: AttentionHeads;
    /** Changes the student's architecture. */
    architecture?: (student: Architecture) => Architecture;
    batchSize: number;
    contextLength: number;
    loss?: Config['loss'];
    kd_loss?: Config['kd_loss'];
    /** The teacher's tokens; the student's by default. */
    teacherVocabulary?: number;
  },
) {
  const {
    batchSize: B,
    contextLength: T,
    student = TINY,
    dtype = 'f32',
    loss = 'mixed',
    kd_loss = DEFAULTS.kd_loss,
    teacherVocabulary: vocab_size = student.vocab_size,
  } = settings;
  const pool = new Pool(gpu);
  const teacher = loss === 'mixed' ? formulaTeacher(gpu, { vocab_size }, B, T, dtype) : undefined;
  const records: StepRecord[] = [];
  const all = {
    initialLossScale: 4096,
    adam: ADAM,
    ...settings,
    student: (settings.architecture ?? ((same) => same))(gpt2(student, settings.heads)),
    dtype,
    loss: { ...DEFAULTS, loss, kd_loss },
  };
  const trainer = await Trainer.create(gpu, pool, all, weightsOf(student), teacher, (record) =>
    records.push(record),
  );
  await trainer.prepare();
  let step = 0;
  return {
    trainer,
    records,
    /** One step, waited for. */
    async step(batches: Batch[], live: Partial<typeof LIVE> = {}): Promise<StepRecord> {
      await trainer.step(batches, { ...LIVE, ...live, step: ++step });
      await trainer.drain();
      return records[records.length - 1];
    },
    /** The gradients of the last step, without the loss scale. */
    async gradients(): Promise<Map<string, Float32Array>> {
      const { lossScale } = records[records.length - 1];
      const scaled = await trainer.gradients.read();
      return new Map([...scaled].map(([name, data]) => [name, data.map((g) => g / lossScale)]));
    },
    async end(): Promise<void> {
      trainer.destroy();
      await teacher?.dispose();
      pool.destroy();
    },
  };
}
