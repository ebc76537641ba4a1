// One distillation, from settings to the last step: data, student, teacher, schedule and evaluation around the trainer.
// It knows no page and no worker: whoever drives it calls `advance` and hears of records through the events.

import type { Config } from '../config';
import type { Tokenizer } from '../data/tokenizer';
import { checkFits, type Gpu, GpuError } from '../gpu/device';
import { Pool } from '../gpu/program';
import type { Gpt2Config } from '../model/config';
import { initialWeights, planArena } from '../model/parameters';
import { Random } from '../tensor/random';
import { prepareData } from './data';
import { Evaluator } from './evaluate';
import { needsTeacher } from './losses';
import type { EvaluationRecord, StepRecord } from './records';
import { StudentSampler, sampleText, teacherLogits } from './sample';
import { learningRate } from './schedule';
import type { Teacher } from './teacher';
import { type Snapshot, Trainer } from './trainer';

export interface RunParts {
  gpu: Gpu;
  config: Config;
  tokenizer: Tokenizer;
  /** The whole corpus: token ids of each document. */
  documents: readonly Uint32Array[];
  /** The teacher's sizes, and the teacher itself for batches of (B, T). */
  teacherConfig: Gpt2Config;
  makeTeacher(shape: { B: number; T: number; dtype: 'f16' | 'f32' }): Promise<Teacher>;
  events: {
    stage(stage: 'teacher' | 'student' | 'compile' | 'evaluate', detail: string): void;
    record(record: StepRecord): void;
    evaluation(record: EvaluationRecord): void;
  };
}

/** The storage type that `model_dtype` means on this adapter. @throws GpuError where float16 is asked for and missing. */
export function dtypeOf({ model_dtype }: Config, { adapter }: Gpu): 'f16' | 'f32' {
  if (model_dtype === 'float16' && !adapter.f16) {
    throw new GpuError(
      'limits',
      `model_dtype=float16 needs the shader-f16 feature, which ${adapter.name} lacks.`,
      'Use model_dtype=auto or float32.',
    );
  }
  return model_dtype === 'float32' || !adapter.f16 ? 'f32' : 'f16';
}

export class Run {
  /** Optimiser steps done. */
  step = 0;
  /** State at the last evaluation: what a run goes on from when the device is lost. */
  snapshot: Snapshot | undefined;
  readonly studentConfig: Gpt2Config;
  readonly studentParameters: number;
  readonly dtype: 'f16' | 'f32';
  readonly #config: Config;
  readonly #data: ReturnType<typeof prepareData>;
  readonly #random: Random;
  readonly #pool: Pool;
  #trainer!: Trainer;
  #teacher!: Teacher;
  #evaluator!: Evaluator;
  #sampler!: StudentSampler;
  #teacherText: string | undefined;

  private constructor(private readonly parts: RunParts) {
    const { config, documents, tokenizer, gpu, teacherConfig } = parts;
    const { max_length: T } = config;
    if (T > teacherConfig.n_positions) {
      throw new GpuError(
        'limits',
        `max_length=${T} is longer than the teacher's ${teacherConfig.n_positions} positions.`,
        `Use a max_length of at most ${teacherConfig.n_positions}.`,
      );
    }
    this.#config = { ...config };
    this.dtype = dtypeOf(config, gpu);
    this.#data = prepareData(documents, config);
    this.#random = new Random(config.seed);
    this.studentConfig = {
      ...{ vocab_size: tokenizer.vocabularySize, n_positions: T, n_embd: config.student_width },
      ...{ n_layer: config.student_layers, n_head: config.student_heads },
      ...{ layer_norm_epsilon: 1e-5, activation_function: 'gelu_new' },
    };
    const plan = planArena(this.studentConfig);
    this.studentParameters = plan.parameters;
    // Here, before a teacher is fetched and weights are drawn for a student that would not fit.
    checkFits(gpu, 'The student’s weights', plan.count * 4);
    this.#pool = new Pool(gpu);
  }

  /** Builds everything, from `snapshot` where one is given; the first `advance` evaluates before it trains. */
  static async create(parts: RunParts, snapshot?: Snapshot): Promise<Run> {
    const run = new Run(parts);
    try {
      await run.#build(snapshot);
    } catch (error) {
      await run.destroy();
      throw error;
    }
    return run;
  }

  async #build(snapshot?: Snapshot): Promise<void> {
    const { gpu, config, events, makeTeacher } = this.parts;
    const { batch_size: B, max_length: T } = config;
    events.stage('teacher', 'starting the teacher');
    this.#teacher = await makeTeacher({ B, T, dtype: this.dtype });
    events.stage('student', `${this.studentParameters.toLocaleString('en-US')} parameters`);
    const weights = initialWeights(this.studentConfig, this.#random.fork('weights'));
    events.stage('compile', 'compiling kernels');
    const settings = {
      ...{ student: this.studentConfig, dtype: this.dtype, batchSize: B, contextLength: T, loss: config },
      initialLossScale: config.initial_loss_scale,
      adam: {
        ...{ beta1: config.adam_beta1, beta2: config.adam_beta2, epsilon: 1e-8 },
        ...{ weightDecay: config.weight_decay, maxGradNorm: config.max_grad_norm },
      },
    };
    // A loss of the data alone needs no teacher in its steps; the evaluation asks it all the same.
    const taught = needsTeacher(config.loss) ? this.#teacher : undefined;
    this.#trainer = await Trainer.create(gpu, this.#pool, settings, weights, taught, events.record);
    const student = { config: this.studentConfig, weights: this.#trainer.weights };
    this.#evaluator = new Evaluator(gpu, this.#pool, student, this.#teacher, [B, T], config.eval_loss_path);
    this.#sampler = await StudentSampler.create(gpu, this.#pool, student.config, student.weights, T);
    if (!snapshot) return;
    this.#trainer.restore(snapshot);
    this.step = snapshot.step;
    this.snapshot = snapshot;
  }

  get done(): boolean {
    return this.step >= this.#config.train_steps;
  }

  /** Tokens to train on. */
  get trainTokens(): number {
    return this.#data.trainTokens;
  }

  get heldOutTokens(): number {
    return this.#data.heldOutTokens;
  }

  get teacherParameters(): number {
    return this.#teacher.parameters;
  }

  /** Our dispatches in an optimiser step; the teacher's runs in submissions of its own. */
  get dispatchesPerStep(): number {
    return this.#trainer.dispatches(this.#config.gradient_accumulation);
  }

  /** Takes effect at the next step. */
  change(changes: Partial<Pick<Config, 'student_lr' | 'temperature' | 'alpha'>>): void {
    Object.assign(this.#config, changes);
  }

  /** Evaluates first if nothing was yet, then trains one step, then evaluates if it is due. Settles when that is done or queued. */
  async advance(): Promise<void> {
    if (!this.snapshot) await this.#evaluate();
    if (this.done) return;
    const { gradient_accumulation: count, temperature, alpha, eval_steps } = this.#config;
    const batches = Array.from({ length: count }, (_, k) => this.#data.batches.at(this.step * count + k));
    this.step++;
    await this.#trainer.step(batches, {
      ...{ step: this.step, temperature, alpha },
      learningRate: learningRate(this.step, this.#config),
    });
    if (this.step % eval_steps === 0 || this.done) {
      await this.#trainer.drain();
      await this.#evaluate();
    }
  }

  /** Waits until every record has been delivered. */
  async drain(): Promise<void> {
    await this.#trainer.drain();
  }

  /** The student's parameters as they are now, f32, by Hugging Face name. */
  async weights(): Promise<Map<string, Float32Array>> {
    return this.#trainer.master.read();
  }

  /** Frees everything on the GPU. */
  async destroy(): Promise<void> {
    this.#sampler?.destroy();
    this.#evaluator?.destroy();
    this.#trainer?.destroy();
    this.#pool.destroy();
    await this.#teacher?.dispose();
  }

  async #evaluate(): Promise<void> {
    const { events, config } = this.parts;
    if (this.step === 0) events.stage('evaluate', 'before training');
    const record = await this.#evaluator.run(this.#data.heldOut, this.step);
    if (config.sample_tokens > 0) record.sample = await this.#sample();
    this.snapshot = await this.#trainer.snapshot(this.step);
    events.evaluation(record);
  }

  /** Both models draw from the same stream, so that what differs is the models. */
  async #sample() {
    const { gpu, tokenizer, config } = this.parts;
    const settings = () => ({
      prompt: config.prompt,
      count: config.sample_tokens,
      random: this.#random.fork('sample'),
    });
    this.#teacherText ??= await sampleText(teacherLogits(gpu, this.#teacher), tokenizer, settings());
    const student = await sampleText(this.#sampler.next, tokenizer, settings());
    return { prompt: config.prompt, teacher: this.#teacherText, student };
  }
}
