// One distillation, from settings to the last step: data, student, teacher, schedule and evaluation around the trainer.
// It knows no page and no worker: whoever drives it calls `advance` and hears of records through the events.

import type { Config } from '../config';
import type { Tokenizer } from '../data/tokenizer';
import { type Gpu, GpuError } from '../gpu/device';
import type { Gpt2Config } from '../model/config';
import { initialWeights, planArena } from '../model/parameters';
import { Random } from '../tensor/random';
import { Apparatus, type ApparatusParts } from './apparatus';
import { prepareData } from './data';
import type { EvaluationRecord, StepRecord } from './records';
import { sampleText } from './sample';
import { learningRate } from './schedule';
import type { StudentStart } from './student-start';
import type { TeacherSizes } from './teacher-onnx';
import type { Snapshot } from './trainer';

export interface RunParts {
  gpu: Gpu;
  config: Config;
  tokenizer: Tokenizer;
  /** The whole corpus: token ids of each document. */
  documents: readonly Uint32Array[];
  /** The teacher's sizes, and the teacher itself for batches of (B, T). */
  teacherConfig: TeacherSizes;
  /** What the student starts from; without it, a new one of the config's sizes. */
  student?: StudentStart;
  makeTeacher: ApparatusParts['makeTeacher'];
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

/** The sizes of a student that starts from nothing. */
export function newStudent(config: Config, vocabularySize: number): Gpt2Config {
  return {
    ...{ vocab_size: vocabularySize, n_positions: config.max_length, n_embd: config.student_width },
    ...{ n_layer: config.student_layers, n_head: config.student_heads },
    ...{ layer_norm_epsilon: 1e-5, activation_function: 'gelu_new' },
  };
}

/** @throws GpuError for a context that is longer than one of the models was trained on. */
export function requireContext({ max_length: T }: Config, teacher: TeacherSizes, student?: Gpt2Config): void {
  for (const [model, n_positions] of [
    ['teacher', teacher.n_positions],
    ['student', student?.n_positions ?? T],
  ] as const) {
    if (T <= n_positions) continue;
    throw new GpuError(
      'limits',
      `max_length=${T} is longer than the ${model}'s ${n_positions} positions.`,
      `Use a max_length of at most ${n_positions}.`,
    );
  }
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
  #apparatus!: Apparatus;
  #teacherText: string | undefined;

  private constructor(private readonly parts: RunParts) {
    const { config, documents, tokenizer, gpu, teacherConfig } = parts;
    requireContext(config, teacherConfig, parts.student?.config);
    this.#config = { ...config };
    this.dtype = dtypeOf(config, gpu);
    this.#data = prepareData(documents, config);
    this.#random = new Random(config.seed);
    const start = parts.student?.config;
    this.studentConfig = start ?? newStudent(config, tokenizer.vocabularySize);
    this.studentParameters = planArena(this.studentConfig).parameters;
  }

  /** Builds everything, from `snapshot` where one is given; the first `advance` evaluates before it trains. */
  static async create(parts: RunParts, snapshot?: Snapshot): Promise<Run> {
    const run = new Run(parts);
    await run.#build(snapshot);
    return run;
  }

  async #build(snapshot?: Snapshot): Promise<void> {
    const { gpu, config, events, makeTeacher, student } = this.parts;
    this.#apparatus = await Apparatus.create({
      ...{ gpu, config, events, makeTeacher, dtype: this.dtype, student: this.studentConfig },
      weights: () => student?.weights ?? initialWeights(this.studentConfig, this.#random.fork('weights')),
    });
    if (!snapshot) return;
    this.#apparatus.trainer.restore(snapshot);
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

  get teacherParameters(): number | undefined {
    return this.#apparatus.teacher.parameters;
  }

  /** Our dispatches in an optimiser step; the teacher's runs in submissions of its own. */
  get dispatchesPerStep(): number {
    return this.#apparatus.trainer.dispatches(this.#config.gradient_accumulation);
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
    await this.#apparatus.trainer.step(batches, {
      ...{ step: this.step, temperature, alpha },
      learningRate: learningRate(this.step, this.#config),
    });
    if (this.step % eval_steps === 0 || this.done) {
      await this.#apparatus.trainer.drain();
      await this.#evaluate();
    }
  }

  /** Waits until every record has been delivered. */
  async drain(): Promise<void> {
    await this.#apparatus.trainer.drain();
  }

  /** State as it is now, to go on from; every record has been delivered then. */
  async save(): Promise<Snapshot> {
    await this.drain();
    return this.#apparatus.trainer.snapshot(this.step);
  }

  /** The student's parameters as they are now, f32, by Hugging Face name. */
  async weights(): Promise<Map<string, Float32Array>> {
    return this.#apparatus.trainer.master.read();
  }

  /** Frees everything on the GPU. */
  async destroy(): Promise<void> {
    await this.#apparatus.destroy();
  }

  async #evaluate(): Promise<void> {
    const { events, config } = this.parts;
    if (this.step === 0) events.stage('evaluate', 'before training');
    const record = await this.#apparatus.evaluator.run(this.#data.heldOut, this.step);
    if (config.sample_tokens > 0) record.sample = await this.#sample();
    this.snapshot = await this.#apparatus.trainer.snapshot(this.step);
    events.evaluation(record);
  }

  /** Both models draw from the same stream, so that what differs is the models. */
  async #sample() {
    const { tokenizer, config } = this.parts;
    const settings = () => ({
      prompt: config.prompt,
      count: config.sample_tokens,
      random: this.#random.fork('sample'),
    });
    this.#teacherText ??= await sampleText(this.#apparatus.teacher.next, tokenizer, settings());
    const student = await sampleText(this.#apparatus.sampler.next, tokenizer, settings());
    return { prompt: config.prompt, teacher: this.#teacherText, student };
  }
}
