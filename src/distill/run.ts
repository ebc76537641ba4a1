// One distillation, from settings to the last step: data, student, teacher, schedule and evaluation
// around the trainer. It knows no page and no worker: whoever drives it calls `advance` and hears
// of records through the events.

import type { Config, LiveChanges } from '../config';
import type { Batch } from '../data/batches';
import type { Tokenizer } from '../data/tokenizer';
import { type Gpu, GpuError } from '../gpu/device';
import { tuneMatmul } from '../kernels/matmul_tuning';
import { NEW_STUDENT_FAMILY } from '../model/families';
import type { Architecture } from '../model/family';
import { initialWeights, planArena } from '../model/parameters';
import { Random } from '../tensor/random';
import { Apparatus, type ApparatusParts } from './apparatus';
import { prepareData } from './data';
import { needsTeacher } from './losses';
import { type ProfileReport, summarise } from './profile/profile';
import { rooflineOf } from './profile/roofline';
import type { EvaluationRecord, StepRecord } from './records';
import { sampleText, type Write } from './sample';
import { learningRate } from './schedule';
import type { StudentStart } from './student-start';
import { bytesPerPosition, CacheError, type CacheSummary, cacheBytes } from './teacher/cache-file';
import { requireTemperature } from './teacher/cached';
import type { TeacherSizes } from './teacher/onnx';
import {
  type CachePlace,
  type OpenCache,
  openCache,
  requireCacheServes,
} from './teacher/open-cache';
import type { Snapshot } from './training-state';

export type RunStage = 'cache' | 'teacher' | 'student' | 'compile' | 'evaluate';

/** What a run with a cached teacher says of it. */
export interface CacheReport extends Omit<CacheSummary, 'parameters' | 'sample' | 'perplexity'> {
  V: number;
  k: number;
  bytesPerPosition: number;
  bytes: number;
  /** It was there before this run. */
  found: boolean;
}

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
  /** Where the teacher's cache lies; needed with teacher_cache=on. */
  cache?: CachePlace;
  /** Breaks off what takes long while the run is built. */
  signal?: AbortSignal;
  events: {
    /** `loaded` of `total` bytes, where the stage writes some. */
    stage(stage: RunStage, detail: string, loaded?: number, total?: number): void;
    record(record: StepRecord): void;
    evaluation(record: EvaluationRecord): void;
    /** What whoever runs it should know. */
    note?(text: string): void;
  };
}

/**
 * The storage type that `model_dtype` means on this adapter. @throws GpuError where float16 is
 * asked for and missing.
 */
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

/**
 * Parameters above which a snapshot (12 bytes each, read back) takes long enough to be spaced out.
 */
const LARGE_STUDENT = 4e6;
/** Then snapshots take at most one part in so many of the run's time. */
const SNAPSHOT_SPACING = 20;

/** The student that the settings describe, for one that starts from random weights. */
export function newStudent(config: Config, vocabularySize: number): Architecture {
  return NEW_STUDENT_FAMILY.create({
    vocabularySize,
    contextWindow: config.max_length,
    width: config.student_width,
    layers: config.student_layers,
    heads: config.student_heads,
  });
}

/** @throws GpuError for a context that is longer than one of the models was trained on. */
export function requireContext(
  { max_length: T }: Config,
  teacher: TeacherSizes,
  student?: Architecture,
): void {
  for (const [model, positions] of [
    ['teacher', teacher.contextWindow],
    ['student', student?.contextWindow ?? T],
  ] as const) {
    if (T <= positions) continue;
    throw new GpuError(
      'limits',
      `max_length=${T} is longer than the ${model}'s ${positions} positions.`,
      `Use a max_length of at most ${positions}.`,
    );
  }
}

export class Run {
  /** Optimiser steps done. */
  step = 0;
  /**
   * State at an evaluation, the last one unless the student is large: what a run goes on from when
   * the device is lost.
   */
  snapshot: Snapshot | undefined;
  readonly student: Architecture;
  readonly studentParameters: number;
  readonly dtype: 'f16' | 'f32';
  readonly #config: Config;
  readonly #data: ReturnType<typeof prepareData>;
  readonly #random: Random;
  #apparatus!: Apparatus;
  #cache?: OpenCache;
  #teacherText: string | undefined;
  /** When the last snapshot was taken, and how long that took. */
  #kept = { at: 0, milliseconds: 0 };

  private constructor(private readonly parts: RunParts) {
    const { config, documents, tokenizer, gpu, teacherConfig } = parts;
    requireContext(config, teacherConfig, parts.student?.architecture);
    this.#config = { ...config };
    this.dtype = dtypeOf(config, gpu);
    this.#data = prepareData(documents, config);
    this.#random = new Random(config.seed);
    const start = parts.student?.architecture;
    this.student = start ?? newStudent(config, tokenizer.vocabularySize);
    if (config.teacher_cache === 'on') requireCacheServes(config, this.student.vocabularySize);
    this.studentParameters = planArena(this.student.parameters).parameters;
  }

  /**
   * Builds everything, from `snapshot` where one is given; the first `advance` evaluates before it
   * trains.
   */
  static async create(parts: RunParts, snapshot?: Snapshot): Promise<Run> {
    const run = new Run(parts);
    try {
      await run.#build(snapshot);
    } catch (error) {
      await run.#cache?.file.close();
      throw error;
    }
    return run;
  }

  async #build(snapshot?: Snapshot): Promise<void> {
    const { gpu, config, events, student } = this.parts;
    const weights = () =>
      student?.weights ?? initialWeights(this.student.parameters, this.#random.fork('weights'));
    const parts = { gpu, config, dtype: this.dtype, student: this.student, weights };
    let { makeTeacher } = this.parts;
    events.stage('compile', 'trying the adapter’s matrix products');
    for (const { name, fault } of await tuneMatmul(gpu, this.dtype)) {
      if (fault)
        events.note?.(
          `This adapter gets matrix products by ${name} wrong; they are left out. ${fault}`,
        );
    }
    const opened = await this.#openCache(parts);
    if (opened && 'teacher' in opened) makeTeacher = () => Promise.resolve(opened.teacher);
    else this.#cache = opened;
    this.#apparatus = await Apparatus.create({ ...parts, makeTeacher, events, cache: this.#cache });
    if (!snapshot) return;
    this.#apparatus.trainer.restore(snapshot);
    this.step = snapshot.step;
    this.snapshot = snapshot;
  }

  /**
   * The teacher's cache, or the teacher again where none could be written; undefined where none was
   * asked for.
   */
  async #openCache(
    parts: Pick<ApparatusParts, 'gpu' | 'config' | 'dtype' | 'student' | 'weights'>,
  ) {
    const { cache, config, events, makeTeacher, signal } = this.parts;
    if (config.teacher_cache !== 'on') return undefined;
    if (!cache)
      throw new CacheError(
        'refused',
        'There is nowhere to write the teacher’s cache. Use teacher_cache=off.',
      );
    const { batches, heldOut } = this.#data;
    const count = needsTeacher(config.loss) ? config.train_steps * config.gradient_accumulation : 0;
    const opened = await openCache({
      ...parts,
      place: cache,
      makeTeacher,
      signal,
      batches: { count, at: (index) => batches.at(index), heldOut },
      sample: async (write) => (config.sample_tokens > 0 ? this.#text(write) : undefined),
      progress: (...said) => events.stage('cache', ...said),
    });
    if (opened && 'file' in opened) this.#teacherText = opened.file.summary.sample;
    return opened;
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
    return this.#apparatus.teacher?.parameters ?? this.#cache?.file.summary.parameters;
  }

  /** What was kept of the teacher, if it is cached. */
  get cache(): CacheReport | undefined {
    if (!this.#cache) return undefined;
    const { identity, summary } = this.#cache.file;
    const { V, k } = identity;
    const sizes = { bytesPerPosition: bytesPerPosition(identity), bytes: cacheBytes(identity) };
    return { V, k, ...sizes, seconds: summary.seconds, kl: summary.kl, found: this.#cache.found };
  }

  /** Our dispatches in an optimiser step; the teacher's runs in submissions of its own. */
  get dispatchesPerStep(): number {
    return this.#apparatus.trainer.dispatches(this.#config.gradient_accumulation);
  }

  /**
   * Our submissions in the last optimiser step; one a batch until it is known how long they take.
   */
  get submissionsPerStep(): number {
    return this.#apparatus.trainer.submissions ?? this.#config.gradient_accumulation;
  }

  /**
   * Takes effect at the next step. @throws CacheError for a temperature that the teacher's cache
   * does not serve; nothing changes then
   */
  change(changes: LiveChanges): void {
    const { temperature } = changes;
    if (temperature !== undefined) requireTemperature(this.#apparatus.training, temperature);
    Object.assign(this.#config, changes);
  }

  /**
   * Evaluates first if nothing was yet, then trains one step, then evaluates if it is due. Settles
   * when that is done or queued.
   */
  async advance(): Promise<void> {
    if (!this.snapshot) await this.#evaluate();
    if (this.done) return;
    const { temperature, alpha, eval_steps } = this.#config;
    this.step++;
    await this.#apparatus.trainer.step(this.#batchesOf(this.step), {
      step: this.step,
      temperature,
      alpha,
      learningRate: learningRate(this.step, this.#config),
    });
    if (this.step % eval_steps === 0 || this.done) {
      await this.#apparatus.trainer.drain();
      await this.#evaluate();
    }
  }

  #batchesOf(step: number): Batch[] {
    const { gradient_accumulation: count } = this.#config;
    return Array.from({ length: count }, (_, k) => this.#data.batches.at((step - 1) * count + k));
  }

  /**
   * Where a step goes, measured on the last one's batches. To be asked between two steps; the run
   * goes on from the same bits.
   * @throws GpuError without timestamp-query, or without room for the measurement; what aborts
   * `signal`
   */
  async profile(signal?: AbortSignal): Promise<ProfileReport> {
    const { temperature, alpha } = this.#config;
    const step = Math.max(1, this.step);
    const times = await this.#apparatus.trainer.profile(
      this.#batchesOf(step),
      { step, temperature, alpha },
      signal,
    );
    return summarise(times, await rooflineOf(this.parts.gpu));
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

  /** One of the student's parameters as it is now, f32, by Hugging Face name. Waits for the GPU. */
  async parameter(name: string): Promise<Float32Array> {
    return this.#apparatus.trainer.master.readParameter(name);
  }

  /** Frees everything on the GPU. */
  async destroy(): Promise<void> {
    try {
      await this.#apparatus.destroy();
    } finally {
      // Where the device is gone, freeing may fail; the file is needed again when the run is
      // recovered.
      await this.#cache?.file.close();
    }
  }

  async #evaluate(): Promise<void> {
    const { events, config } = this.parts;
    if (this.step === 0) events.stage('evaluate', 'before training');
    const record = await this.#apparatus.evaluator.run(this.#data.heldOut, this.step);
    if (config.sample_tokens > 0) record.sample = await this.#sample();
    await this.#keep();
    events.evaluation(record);
  }

  /** Takes the snapshot, unless taking one is slow and the last was taken a short while ago. */
  async #keep(): Promise<void> {
    const started = performance.now();
    const large = this.studentParameters > LARGE_STUDENT;
    if (
      large &&
      this.snapshot &&
      started < this.#kept.at + SNAPSHOT_SPACING * this.#kept.milliseconds
    )
      return;
    this.snapshot = await this.#apparatus.trainer.snapshot(this.step);
    const at = performance.now();
    this.#kept = { at, milliseconds: at - started };
  }

  /** Both models draw from the same stream, so that what differs is the models. */
  async #sample() {
    const { teacher, sampler } = this.#apparatus;
    // Of a cached teacher it is there already.
    if (teacher) this.#teacherText ??= await this.#text(teacher.write);
    const student = await this.#text(sampler.write);
    return { prompt: this.parts.config.prompt, teacher: this.#teacherText ?? '', student };
  }

  #text(write: Write): Promise<string> {
    const { prompt, sample_tokens: count } = this.parts.config;
    return sampleText(write, this.parts.tokenizer, {
      prompt,
      count,
      random: this.#random.fork('sample'),
    });
  }
}
