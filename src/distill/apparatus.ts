// Everything that a run has on the GPU: teacher or its cache, trainer, evaluation, sampler. Built
// on a device that only counts, it is the plan of the run's memory.

import type { Config } from '../config';
import { countingGpu } from '../gpu/counting';
import type { Gpu } from '../gpu/device';
import type { Purpose } from '../gpu/memory';
import { Pool } from '../gpu/program';
import type { Architecture } from '../model/family';
import type { Weights } from '../model/parameters';
import { Evaluator } from './evaluate';
import { needsTeacher } from './losses';
import type { StepRecord } from './records';
import { Sampler } from './sample';
import { type CachedTeacher, cachedTeacher } from './teacher/cached';
import { cacheShape, type OpenCache } from './teacher/open-cache';
import type { MakeTeacher, Teacher, TeacherSource } from './teacher/teacher';
import { Trainer } from './trainer';

export interface ApparatusParts {
  gpu: Gpu;
  config: Config;
  dtype: 'f16' | 'f32';
  student: Architecture;
  /**
   * Drawn or read only after the teacher is there; undefined leaves zeros, which is enough for a
   * plan.
   */
  weights(): Weights | undefined;
  makeTeacher: MakeTeacher;
  /** What was kept of the teacher: it is then not made. */
  cache?: OpenCache;
  /** Nothing is run: a cache that the config asks for need not be there. */
  planned?: boolean;
  events: {
    stage(stage: 'teacher' | 'student' | 'compile', detail: string): void;
    record(record: StepRecord): void;
  };
}

export class Apparatus {
  /** Absent where the run has its cache. */
  teacher?: Teacher;
  trainer!: Trainer;
  evaluator!: Evaluator;
  sampler!: Sampler;
  /** What training has the teacher's side from; absent where its loss needs none. */
  training?: TeacherSource;
  #cached?: CachedTeacher;
  readonly #pool: Pool;

  private constructor(private readonly parts: ApparatusParts) {
    this.#pool = new Pool(parts.gpu);
  }

  static async create(parts: ApparatusParts): Promise<Apparatus> {
    const apparatus = new Apparatus(parts);
    try {
      await apparatus.#build();
    } catch (error) {
      await apparatus.destroy();
      throw error;
    }
    return apparatus;
  }

  async #build(): Promise<void> {
    const { gpu, config, dtype, student, weights, events } = this.parts;
    const { batch_size: B, max_length: T } = config;
    const { training, heldOut } = await this.#taught();
    events.stage('student', 'writing its weights');
    const start = weights();
    events.stage('compile', 'compiling kernels');
    const settings = {
      student,
      dtype,
      batchSize: B,
      contextLength: T,
      loss: config,
      initialLossScale: config.initial_loss_scale,
      lossPath: config.train_loss_path,
      recompute: config.gradient_checkpointing === 'on',
      adam: {
        beta1: config.adam_beta1,
        beta2: config.adam_beta2,
        epsilon: 1e-8,
        weightDecay: config.weight_decay,
        maxGradNorm: config.max_grad_norm,
      },
    };
    // A loss of the data alone needs no teacher in its steps; the evaluation asks it all the same.
    this.training = needsTeacher(config.loss) ? training : undefined;
    this.trainer = await Trainer.create(
      gpu,
      this.#pool,
      settings,
      start,
      this.training,
      events.record,
    );
    const { model } = this.trainer;
    this.evaluator = new Evaluator(gpu, this.#pool, model, heldOut, [B, T], config.eval_loss_path);
    await this.evaluator.prepare();
    this.sampler = await Sampler.create(gpu, this.#pool, model, T);
  }

  /** Where training and evaluation have the teacher's side from. */
  async #taught(): Promise<{ training: TeacherSource; heldOut: TeacherSource }> {
    const { gpu, config, dtype, student, makeTeacher, cache, planned, events } = this.parts;
    const { batch_size: B, max_length: T } = config;
    if (cache || (planned && config.teacher_cache === 'on')) {
      this.#cached = cachedTeacher(gpu, cacheShape(config, student.vocabularySize), [B, T], cache);
      return this.#cached;
    }
    events.stage('teacher', 'starting the teacher');
    this.teacher = await makeTeacher(gpu, { B, T, dtype });
    return { training: this.teacher, heldOut: this.teacher };
  }

  /** Frees everything on the GPU. */
  async destroy(): Promise<void> {
    this.sampler?.destroy();
    this.evaluator?.destroy();
    this.trainer?.destroy();
    this.#pool.destroy();
    this.#cached?.destroy();
    await this.teacher?.dispose();
  }
}

/**
 * Bytes of GPU memory by purpose that a run of these parts will take; with a cached teacher, once
 * that is written. Makes nothing on the GPU.
 */
export async function planMemory(
  parts: Omit<ApparatusParts, 'events' | 'weights' | 'cache' | 'planned'>,
): Promise<Partial<Record<Purpose, number>>> {
  const gpu = countingGpu(parts.gpu);
  const events = { stage: () => {}, record: () => {} };
  await Apparatus.create({ ...parts, gpu, weights: () => undefined, events, planned: true });
  return gpu.memory.totals();
}
