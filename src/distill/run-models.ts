// What a run keeps on the GPU: the teacher or its cache, the trainer, the evaluator and the
// sampler. Built on a device that only counts, it is the plan of the run's memory.

import { type Config, twinConfig } from '../config';
import type { AnswerMarks } from '../data/answers';
import type { Tokenizer } from '../data/tokenizer';
import { alignedLossOf } from '../divergences';
import { countingGpu } from '../gpu/counting';
import type { Gpu } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
import { Pool } from '../gpu/program';
import type { Architecture } from '../model/family';
import type { Arena, Weights } from '../model/parameters';
import { Evaluator } from './evaluate';
import { needsTeacher } from './losses';
import type { StepRecord } from './records';
import { requireRouterBias, requireRouters, withTrainedRouters } from './router-training';
import { Sampler } from './sample';
import type { TrainerSettings } from './settings';
import { type CachedTeacher, cachedTeacher } from './teacher/cached';
import { keepLogits } from './teacher/kept';
import { cacheShape, type OpenCache } from './teacher/open-cache';
import { type MakeTeacher, narrowed, type Teacher, type TeacherSource } from './teacher/teacher';
import { Trainer } from './trainer';
import { matchesOf } from './vocabularies';

interface PlanOptions {
  gpu: Gpu;
  config: Config;
  dtype: 'f16' | 'f32';
  student: Architecture;
  makeTeacher: MakeTeacher;
  /** The student's, and the teacher's if it is another: see `TwoVocabularies`. */
  tokenizer?: Tokenizer;
  teacherTokenizer?: Tokenizer;
}

export interface RunModelsOptions extends PlanOptions {
  /**
   * The student's initial weights, asked for once the teacher is there; undefined leaves them 0,
   * which is enough for a plan.
   */
  weights(): Weights | undefined;
  /** Replaces the teacher, which is then not made. */
  cache?: OpenCache;
  /** Marks the answers of the held-out text, if it has any. */
  answers?: AnswerMarks;
  /** Nothing will run: a cache that the config asks for need not exist. */
  planned?: boolean;
  events: {
    stage(stage: 'teacher' | 'student' | 'compile', detail: string): void;
    record(record: StepRecord): void;
    twin?: { record(record: StepRecord): void };
  };
}

/** A student, with what trains it, evaluates it and lets it speak. */
export interface StudentModels {
  trainer: Trainer;
  evaluator: Evaluator;
  sampler: Sampler;
}

export interface RunModels extends StudentModels {
  /** Undefined if the teacher is cached. */
  teacher?: Teacher;
  /** What the training loss reads; undefined if it needs no teacher. */
  training?: TeacherSource;
  /** The second student, if the run has one. It shares the first one's teacher and its memory. */
  twin?: StudentModels;
  /** Frees everything on the GPU. */
  destroy(): Promise<void>;
}

/** The order matters for memory: the teacher's weights are loaded before the student's. */
export async function buildRunModels(options: RunModelsOptions): Promise<RunModels> {
  const { gpu, config, dtype, student, weights, makeTeacher, cache, planned, events } = options;
  const { tokenizer, teacherTokenizer } = options;
  const { batch_size: B, max_length: T, eval_loss_path: evaluationPath } = config;
  const masked = config.packing === 'masked';
  const cleanups: (() => void | Promise<void>)[] = [];
  const destroy = async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  };
  try {
    let teacher: Teacher | undefined;
    let sources: Pick<CachedTeacher, 'training' | 'heldOut'>;
    if (cache || (planned && config.teacher_cache === 'on')) {
      const cached = cachedTeacher(gpu, cacheShape(config, student.vocabularySize), [B, T], cache);
      cleanups.push(cached.destroy);
      sources = cached;
    } else {
      events.stage('teacher', 'starting the teacher');
      const routers = [config, twinConfig(config)].some((one) => one && one.router_kd > 0);
      const whole = await makeTeacher(gpu, { B, T, dtype, masked, routers });
      const made = teacherTokenizer ? whole : narrowed(whole, student.vocabularySize);
      cleanups.push(() => made.dispose());
      sources = { training: made, heldOut: made };
      teacher = made;
    }
    // Some losses need no teacher; the evaluation always compares with it.
    const trainingOf = ({ loss }: Config) => (needsTeacher(loss) ? sources.training : undefined);
    const training = trainingOf(config);

    const twinned = twinConfig(config);
    for (const one of twinned ? [config, twinned] : [config]) {
      requireRouters(one, student, trainingOf(one)?.routers);
      requireRouterBias(one, student);
    }
    const pool = new Pool(gpu);
    cleanups.push(() => pool.destroy());
    events.stage('student', 'writing its weights');
    const initial = weights();
    const trainerOf = async (
      config: Config,
      initial: Weights | undefined,
      record: (record: StepRecord) => void,
      frozen?: Arena,
    ) => {
      const settings = {
        ...trainerSettings(config, student, dtype),
        frozen,
        ...(alignedLossOf(config) === 'gold' && {
          matches: matchesOf(student.vocabularySize, tokenizer, teacherTokenizer),
        }),
      };
      const teacher = trainingOf(config);
      const trainer = await Trainer.create(gpu, pool, settings, initial, teacher, record);
      cleanups.push(() => trainer.destroy());
      return trainer;
    };
    const trainer = await trainerOf(config, initial, events.record);
    const V = student.vocabularySize;
    const kept =
      teacher && !teacherTokenizer
        ? keepLogits(gpu, pool, teacher, { B, T, V, batches: config.eval_batches })
        : undefined;
    if (kept) cleanups.push(kept.destroy);
    // Models without a common vocabulary cannot be compared.
    const heldOut = teacherTokenizer ? undefined : (kept?.source ?? sources.heldOut);
    // Kernels are compiled in the order in which they are recorded: an evaluation comes before the
    // first step. Memory is planned for the step first, and the rest fits into it.
    events.stage('compile', 'compiling kernels');
    const modelsOf = (trainer: Trainer): StudentModels => {
      const { model } = trainer;
      const evaluator = new Evaluator(gpu, pool, model, heldOut, [B, T], evaluationPath, {
        answers: options.answers,
        masked,
      });
      cleanups.push(() => evaluator.destroy());
      evaluator.record();
      void trainer.prepare();
      kept?.prepare();
      evaluator.prepare();
      const sampler = Sampler.create(gpu, pool, model, T);
      cleanups.push(() => sampler.destroy());
      return { trainer, evaluator, sampler };
    };
    const first = modelsOf(trainer);
    const other = twinConfig(config);
    const recordTwin = (record: StepRecord) => events.twin?.record(record);
    const twin = other && modelsOf(await trainerOf(other, weights(), recordTwin, trainer.frozen));
    return { teacher, training, ...first, twin, destroy };
  } catch (error) {
    await destroy();
    throw error;
  }
}

function trainerSettings(
  config: Config,
  student: Architecture,
  dtype: 'f16' | 'f32',
): TrainerSettings {
  return {
    student: withTrainedRouters(student, config),
    dtype,
    batchSize: config.batch_size,
    contextLength: config.max_length,
    loss: config,
    baseWeights: config.base_weights,
    routerBiasRate: config.router_bias_rate,
    initialLossScale: config.initial_loss_scale,
    lossPath: config.train_loss_path,
    masked: config.packing === 'masked',
    recompute: config.gradient_checkpointing === 'on',
    adam: {
      beta1: config.adam_beta1,
      beta2: config.adam_beta2,
      epsilon: 1e-8,
      weightDecay: config.weight_decay,
      maxGradNorm: config.max_grad_norm,
    },
  };
}

/**
 * GPU memory that a run will take, in bytes by purpose; with a cached teacher, once the cache is
 * written. Makes nothing on the GPU.
 */
export async function planMemory(options: PlanOptions): Promise<Partial<Record<Purpose, number>>> {
  const gpu = countingGpu(options.gpu);
  const events = { stage: () => {}, record: () => {} };
  await buildRunModels({ ...options, gpu, weights: () => undefined, events, planned: true });
  return gpu.memory.totals();
}
