// The Bug Lab's experiments: the real engine trains small students with the built-in teacher. The
// columns of an experiment take turns, one report at a time, so that a caller can end the
// experiment between any two reports.

import { DEFAULTS } from '../../config';
import type { Batch } from '../../data/batches';
import type { Tokenizer } from '../../data/tokenizer';
import type { Gpu } from '../../gpu/device';
import { Pool } from '../../gpu/program';
import type { Architecture } from '../../model/family';
import type { Gpt2Config } from '../../model/gpt2/config';
import { gpt2 } from '../../model/gpt2/gpt2';
import { initialWeights } from '../../model/parameters';
import { roundToHalf } from '../../tensor/dtype';
import { Random } from '../../tensor/random';
import { prepareData } from '../data';
import type { LossPath } from '../loss-paths';
import { dtypeOf } from '../run-setup';
import { teacherFromWeights } from '../teacher/engine';
import { keepLogits } from '../teacher/kept';
import type { TeacherSource } from '../teacher/teacher';
import { attentionWeights } from './attention-picture';
import { detached } from './detached';
import type { BugLabColumn, BugLabReport, Cause, Experiment } from './records';
import { reshapedHeads } from './reshaped-heads';
import { type BugLabSettings, BugLabStudent } from './student';

export interface BugLabOptions {
  gpu: Gpu;
  tokenizer: Tokenizer;
  /** The whole corpus. */
  tokens: Uint32Array;
  teacherConfig: Architecture;
  /** By Hugging Face name. */
  teacherWeights: ReadonlyMap<string, Float32Array>;
}

const PATHS: LossPath[] = ['view', 'reshape', 'strided'];
const CAUSES: Cause[] = ['view', 'skipped', 'half-weights', 'detached'];
/** Steps, and steps between evaluations: enough to see a loss fall, few enough for a CPU. */
const LENGTH = {
  replay: { steps: 24, every: 8 },
  causes: { steps: 12, every: 6 },
  heads: { steps: 40, every: 20 },
};
const EVALUATION_BATCHES = 4;
const LEARNING_RATE = 0.005;
/** The learning rate of the script that had the bug. */
const SCRIPT_LEARNING_RATE = 5e-6;
/**
 * The least magnitude of the causes' initial weights. Neighbouring f16 numbers of this size are
 * 1.5e-5 apart, so a step of 5e-6 is lost in rounding; smaller weights would still move.
 */
const SMALLEST_WEIGHT = 0.02;
/**
 * Loss scales with which every step overflows. In f16 it makes gradients some 2^10 times too large.
 * No finite scale overflows an f32 gradient of norm 1, so there the scale itself is infinite, as
 * after doubling without end; halving does not bring it back.
 */
const OVERFLOWING_SCALE = { f16: 2 ** 32, f32: Number.POSITIVE_INFINITY };

/** What the columns of one experiment share. */
interface Setup extends BugLabOptions {
  pool: Pool;
  teacher: TeacherSource;
  /** The settings that columns change. */
  base: BugLabSettings;
  /** The same object each time. */
  batch(index: number): Batch;
  heldOut: Batch[];
}

interface Column {
  name: BugLabColumn;
  settings: BugLabSettings;
  length: { steps: number; every: number };
  batch(step: number): Batch;
  /** End the column at its first exception, instead of continuing with the next batch. */
  stopAtError?: boolean;
  /** Report the attention of the trained student. */
  attention?: boolean;
}

/** Runs an experiment, one report at a time. Frees everything when the iteration ends or fails. */
export async function* runExperiment(
  options: BugLabOptions,
  experiment: Experiment,
): AsyncGenerator<BugLabReport, void, void> {
  const { gpu, teacherWeights, teacherConfig } = options;
  const replay = experiment.kind === 'replay' ? experiment : { batchSize: 4, contextLength: 32 };
  const [B, T] = [replay.batchSize, replay.contextLength];
  const dtype = dtypeOf(DEFAULTS, gpu);
  const teacher = await teacherFromWeights(gpu, teacherWeights, teacherConfig, { B, T, dtype });
  const pool = new Pool(gpu);
  // The columns read the same batches, so that the teacher need run only once for each.
  const batches = LENGTH[experiment.kind].steps + EVALUATION_BATCHES;
  const kept = keepLogits(gpu, pool, teacher, { B, T, V: teacherConfig.vocabularySize, batches });
  try {
    const setup = {
      ...options,
      ...prepareBatches(options, B, T),
      pool,
      teacher: kept?.source ?? teacher,
      base: baseSettings(teacherConfig, dtype, [B, T]),
    };
    yield* interleave(columnsOf(setup, experiment).map((column) => runColumn(setup, column)));
  } finally {
    kept?.destroy();
    pool.destroy();
    await teacher.dispose();
  }
}

function prepareBatches(
  { tokens }: BugLabOptions,
  B: number,
  T: number,
): Pick<Setup, 'batch' | 'heldOut'> {
  const sizes = { batch_size: B, max_length: T, eval_batches: EVALUATION_BATCHES };
  const { batches, heldOut } = prepareData([{ ids: tokens }], { ...DEFAULTS, ...sizes });
  const made: Batch[] = [];
  return { batch: (index) => (made[index] ??= batches.at(index)), heldOut };
}

function baseSettings(
  { vocabularySize }: Architecture,
  dtype: 'f16' | 'f32',
  shape: [number, number],
): BugLabSettings {
  const config: Gpt2Config = {
    vocab_size: vocabularySize,
    n_positions: shape[1],
    n_embd: 64,
    n_layer: 1,
    n_head: 2,
    layer_norm_epsilon: 1e-5,
    activation_function: 'gelu_new',
  };
  const architecture = gpt2(config);
  return {
    architecture,
    dtype,
    shape,
    weights: initialWeights(architecture.parameters, new Random(DEFAULTS.seed).fork('weights')),
    learningRate: LEARNING_RATE,
    weightDecay: DEFAULTS.weight_decay,
    lossPath: 'labels',
    evaluationPath: 'strided',
  };
}

function columnsOf(setup: Setup, experiment: Experiment): Column[] {
  const { base } = setup;
  const length = LENGTH[experiment.kind];
  const batch = (step: number) => setup.batch(step - 1);
  if (experiment.kind === 'replay') {
    const stopAtError = experiment.errors === 'raised';
    return PATHS.map((path) => {
      const lossPath = experiment.where === 'training' ? path : 'labels';
      return {
        name: path,
        length,
        batch,
        stopAtError,
        settings: { ...base, lossPath, evaluationPath: path },
      };
    });
  }
  if (experiment.kind === 'heads') {
    // With 4 heads each reshaped head sees a quarter of the text, which the picture shows clearly.
    const config = { ...base.architecture.config, n_head: 4 };
    const architectures = { transposed: gpt2(config), reshaped: gpt2(config, reshapedHeads) };
    return (['transposed', 'reshaped'] as const).map((name) => {
      const settings = { ...base, architecture: architectures[name] };
      return { name, length, batch, attention: true, settings };
    });
  }
  // The same batch at every step: if the weights change, so does its loss.
  const same = setup.batch(0);
  const plain = { ...base, weights: farFromZero(base.weights), weightDecay: 0 };
  const settings: Record<Cause, BugLabSettings> = {
    view: { ...plain, evaluationPath: 'view' },
    skipped: {
      ...plain,
      fault: { initialLossScale: OVERFLOWING_SCALE[base.dtype], lossScaling: 'static' },
    },
    'half-weights': { ...plain, learningRate: SCRIPT_LEARNING_RATE, halfWeights: true },
    detached: { ...plain, fault: { student: detached(base.architecture) } },
  };
  return CAUSES.map((name) => ({ name, length, batch: () => same, settings: settings[name] }));
}

/** Trains and evaluates one column. */
async function* runColumn(setup: Setup, column: Column): AsyncGenerator<BugLabReport, void, void> {
  const { gpu, pool, teacher, tokenizer, heldOut } = setup;
  const { name, settings, length, stopAtError, attention } = column;
  const student = await BugLabStudent.create(gpu, pool, teacher, settings);
  try {
    for (let step = 0; ; ) {
      if (step % length.every === 0) {
        const evaluation = await student.evaluate(heldOut);
        const error = evaluation.record.firstError;
        // A script that does not catch the exception gets no figures.
        if (stopAtError && error) return yield { kind: 'ended', column: name, error };
        yield { kind: 'evaluation', column: name, ...evaluation };
      }
      if (step === length.steps) break;
      const attempt = await student.attempt(column.batch(++step));
      yield { kind: 'step', column: name, attempt, totalSteps: length.steps };
      if (stopAtError && attempt.error)
        return yield { kind: 'ended', column: name, error: attempt.error };
    }
    if (attention) {
      const layer = 0;
      const text = heldOut[0].inputs.slice(0, settings.architecture.contextWindow);
      const heads = await attentionWeights(gpu, student.model, text, layer);
      const tokens = Array.from(text, (token) => tokenizer.decode([token]));
      yield { kind: 'attention', column: name, picture: { layer, tokens, heads } };
    }
    yield { kind: 'ended', column: name };
  } finally {
    student.destroy();
  }
}

/** Yields one value of each generator in turn, until all are done. Ends them all when it ends. */
async function* interleave<T>(
  generators: AsyncGenerator<T, void, void>[],
): AsyncGenerator<T, void, void> {
  let running = generators;
  try {
    while (running.length > 0) {
      const done = new Set<AsyncGenerator<T>>();
      for (const generator of running) {
        const next = await generator.next();
        if (next.done) done.add(generator);
        else yield next.value;
      }
      running = running.filter((generator) => !done.has(generator));
    }
  } finally {
    for (const generator of generators) await generator.return();
  }
}

/**
 * The weights moved away from 0 to at least SMALLEST_WEIGHT, and rounded to f16. Zeros move up and
 * down in turn.
 */
function farFromZero(weights: ReadonlyMap<string, Float32Array>): Map<string, Float32Array> {
  const move = (w: number, i: number) => {
    const side = w === 0 ? 1 - 2 * (i % 2) : Math.sign(w);
    return roundToHalf(side * Math.max(Math.abs(w), SMALLEST_WEIGHT));
  };
  return new Map([...weights].map(([name, data]) => [name, data.map(move)]));
}
