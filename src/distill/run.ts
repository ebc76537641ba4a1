// One distillation, from settings to the last step: data, schedule, evaluation and snapshots around
// the trainer. It knows no page and no worker: a caller calls `advance` and gets records through
// the events.

import { type Config, type LiveChanges, twinConfig, twinStep } from '../config';
import { answerMarks } from '../data/answers';
import type { Batch } from '../data/batches';
import type { Tokenizer, Tokens } from '../data/tokenizer';
import type { Gpu } from '../gpu/device';
import { tuneMatmul } from '../kernels/matmul_tuning';
import type { Architecture } from '../model/family';
import { trainedParameters } from '../model/lora';
import { planArena, type Weights } from '../model/parameters';
import { Random } from '../tensor/random';
import { Breakdown } from './breakdown';
import { prepareData } from './data';
import type { Evaluator } from './evaluate';
import { needsTeacher } from './losses';
import { PassageFinder, type Passages } from './passages';
import { type ProfileReport, summarise } from './profile/profile';
import { rooflineOf } from './profile/roofline';
import type { Ingredients } from './recipe/recipe';
import type { DataFacts, EvaluationRecord, Sample, StepRecord } from './records';
import { routerWarning } from './router-training';
import type { RunEvents } from './run-events';
import { buildRunModels, type RunModels, type StudentModels } from './run-models';
import { dtypeOf, newStudent, requireContext, startingWeights } from './run-setup';
import { type Generate, type NextLogits, sampleText } from './sample';
import { isSampleStep, learningRate } from './schedule';
import { stepSettings } from './settings';
import { Snapshots } from './snapshots';
import type { StudentStart } from './student-start';
import { bytesPerPosition, CacheError, type CacheReport, cacheBytes } from './teacher/cache-file';
import { requireTemperature } from './teacher/cached';
import {
  type CachePlace,
  type OpenCache,
  openCache,
  requireCacheServes,
} from './teacher/open-cache';
import type { EngineChoice, MakeTeacher, TeacherSizes } from './teacher/teacher';
import type { Trainer } from './trainer';
import { joinSnapshots, type Snapshot, splitSnapshot } from './training-state';
import { TwinPace } from './twin-pace';
import { comparedNote, NO_COMMON_VOCABULARY } from './vocabularies';

export interface RunOptions {
  gpu: Gpu;
  config: Config;
  /** The student's, and the teacher's if it has another vocabulary. */
  tokenizer: Tokenizer;
  teacherTokenizer?: Tokenizer;
  /** The whole corpus: the tokens of each document. */
  documents: readonly Tokens[];
  /** What ends the question in each line of the corpus, if it is a text of questions. */
  answersAfter?: string;
  teacherConfig: TeacherSizes;
  /** The student's initial weights; without them, a new student of the config's sizes. */
  student?: StudentStart;
  makeTeacher: MakeTeacher;
  /** Where to write the teacher's cache; required with teacher_cache=on. */
  cache?: CachePlace;
  /** Aborts the slow parts of building the run. */
  signal?: AbortSignal;
  events: RunEvents;
}

/**
 * Steps skipped in a row from which it is asked where the numbers stop being finite: a loss scale
 * that adapts to a healthy run skips fewer.
 */
const SKIPPED_IN_A_ROW = 6;

export class Run {
  /** Optimiser steps done. */
  step = 0;
  readonly student: Architecture;
  readonly studentParameters: number;
  /** Those that change: all, or its adapters'. */
  readonly trainedParameters: number;
  readonly dtype: 'f16' | 'f32';
  readonly #config: Config;
  readonly #data: ReturnType<typeof prepareData>;
  readonly #random: Random;
  #models!: RunModels;
  #cache?: OpenCache;
  /** What the teacher says to the prompt. */
  #teacherSays: Pick<Sample, 'prompt' | 'teacher'> | undefined;
  #promptChanged = false;
  readonly #pace = new TwinPace();
  /** Steps skipped since the last applied one. */
  #skipped = 0;
  /** The first step whose numbers ask for an explanation, until it is given. */
  #broken: StepRecord | undefined;
  #explained = false;
  /** (V) how often each token is in the training text; counted for the first evaluation. */
  #frequencies: Uint32Array | undefined;
  readonly #snapshots: Snapshots;
  /** The evaluation before training is done. */
  #evaluated = false;

  private constructor(
    config: Config,
    private readonly options: Omit<RunOptions, 'config'>,
  ) {
    const { documents, gpu, teacherConfig } = options;
    requireContext(config, teacherConfig, options.student?.architecture);
    this.#config = { ...config };
    this.dtype = dtypeOf(config, gpu);
    this.#data = prepareData(documents, config);
    this.#random = new Random(config.seed);
    this.student = options.student?.architecture ?? newStudent(config, teacherConfig);
    if (config.teacher_cache === 'on') {
      for (const one of [config, twinConfig(config)])
        if (one) requireCacheServes(one, this.student.vocabularySize);
    }
    this.studentParameters = planArena(this.student.parameters).parameters;
    this.trainedParameters = trainedParameters(this.student);
    this.#snapshots = new Snapshots(this.trainedParameters, (step) => this.#snapshot(step));
  }

  /**
   * Builds a run, which continues from `snapshot` if there is one. Otherwise the first `advance`
   * evaluates before it trains.
   */
  static async create({ config, ...options }: RunOptions, snapshot?: Snapshot): Promise<Run> {
    const run = new Run(config, options);
    try {
      await run.#build(snapshot);
    } catch (error) {
      await run.#cache?.file.close();
      throw error;
    }
    return run;
  }

  async #build(snapshot?: Snapshot): Promise<void> {
    const { gpu, events } = this.options;
    const unrouted = routerWarning(this.#config, this.student);
    if (unrouted) events.note?.(unrouted);
    events.stage('compile', 'tuning matrix products');
    for (const { name, fault } of await tuneMatmul(gpu, this.dtype)) {
      if (fault)
        events.note?.(
          `This adapter computes the matrix product “${name}” wrongly, so it is not used. ${fault}`,
        );
    }
    let { makeTeacher } = this.options;
    if (this.#config.teacher_cache === 'on') {
      const opened = await this.#openCache();
      if (opened && 'teacher' in opened) makeTeacher = async () => opened.teacher;
      else this.#cache = opened;
    }
    const cached = this.#cache?.file.summary.sample;
    if (cached !== undefined) this.#teacherSays = { prompt: this.#config.prompt, teacher: cached };
    const { tokenizer, teacherTokenizer } = this.options;
    this.#models = await buildRunModels({
      gpu,
      tokenizer,
      teacherTokenizer,
      config: this.#config,
      dtype: this.dtype,
      student: this.student,
      weights: () => this.#initialWeights(),
      makeTeacher,
      cache: this.#cache,
      answers: answerMarks(this.options.answersAfter, tokenizer),
      events: {
        ...events,
        record: (record) => {
          this.#watch(record);
          events.record(record);
        },
      },
    });
    const warning = this.teacherEngine?.warning ?? this.#models.teacher?.warning;
    if (warning) events.note?.(warning);
    const { spans = 0, trainTokens } = this.#data;
    if (teacherTokenizer) events.note?.(comparedNote(this.#config, spans, trainTokens));
    if (!snapshot) return;
    this.#restore(snapshot);
    this.step = snapshot.step;
    this.#snapshots.latest = snapshot;
    this.#evaluated = true;
  }

  #initialWeights(): Weights {
    return startingWeights(this.#config, this.student, this.options.student);
  }

  #openCache() {
    const { gpu, cache, events, makeTeacher, signal } = this.options;
    if (!cache) {
      throw new CacheError(
        'refused',
        'There is no place to write the teacher’s cache. Use teacher_cache=off.',
      );
    }
    const config = this.#config;
    const { batches, heldOut } = this.#data;
    const taught = [config, twinConfig(config)].map((one) =>
      one && needsTeacher(one.loss) ? one.train_steps : 0,
    );
    const count = Math.max(...taught) * config.gradient_accumulation;
    return openCache({
      gpu,
      config,
      dtype: this.dtype,
      student: this.student,
      weights: () => this.#initialWeights(),
      place: cache,
      makeTeacher,
      signal,
      batches: { count, at: (index) => batches.at(index), heldOut },
      sample: async (generate) =>
        config.sample_tokens > 0 ? this.#continuePrompt(generate) : undefined,
      progress: (...progress) => events.stage('cache', ...progress),
    });
  }

  get #trainer(): Trainer {
    return this.#models.trainer;
  }

  /** Each student: the run's own, and its twin if there is one. */
  get #students(): StudentModels[] {
    const { twin } = this.#models;
    return twin ? [this.#models, twin] : [this.#models];
  }

  /**
   * State at the last evaluation, or an earlier one for a large student. A run whose device is lost
   * continues from here.
   */
  get snapshot(): Snapshot | undefined {
    return this.#snapshots.latest;
  }

  /** The run's settings; `change` changes some of them. */
  get config(): Readonly<Config> {
    return this.#config;
  }

  get done(): boolean {
    return this.step >= this.#config.train_steps;
  }

  /** Tokens to train on. */
  get trainTokens(): number {
    return this.#data.trainTokens;
  }

  /** Share of them that is learned; undefined if all are. */
  get learnedShare(): number | undefined {
    return this.#data.learnedShare;
  }

  /** What is known of the text: a pass over its tokens. */
  get dataFacts(): DataFacts {
    return this.#data.describe(this.options.tokenizer);
  }

  get heldOutTokens(): number {
    return this.#data.heldOutTokens;
  }

  get teacherParameters(): number | undefined {
    return this.#models.teacher?.parameters ?? this.#cache?.file.summary.parameters;
  }

  /** Undefined unless it was chosen when the teacher was made. */
  get teacherEngine(): EngineChoice | undefined {
    return this.#models.teacher?.engine;
  }

  /** Undefined if the teacher is not cached. */
  get cache(): CacheReport | undefined {
    if (!this.#cache) return undefined;
    const { identity, summary } = this.#cache.file;
    return {
      V: identity.V,
      k: identity.k,
      bytesPerPosition: bytesPerPosition(identity),
      bytes: cacheBytes(identity),
      seconds: summary.seconds,
      kl: summary.kl,
      found: this.#cache.found,
    };
  }

  /** Our dispatches in an optimiser step, without the teacher's. */
  get dispatchesPerStep(): number {
    const { gradient_accumulation: count } = this.#config;
    return this.#students.reduce((sum, { trainer }) => sum + trainer.dispatches(count), 0);
  }

  /** Our submissions in the last step; one for each batch until the dispatch times are known. */
  get submissionsPerStep(): number {
    const planned = this.#config.gradient_accumulation;
    return this.#students.reduce((sum, { trainer }) => sum + (trainer.submissions ?? planned), 0);
  }

  /**
   * Takes effect at the next step.
   * @throws CacheError for a temperature that the teacher's cache does not serve, and for a prompt
   * that a cached teacher has not continued. Nothing changes then.
   */
  change(changes: LiveChanges): void {
    const { temperature, prompt = this.#config.prompt } = changes;
    if (temperature !== undefined) requireTemperature(this.#models.training, temperature);
    if (prompt !== this.#config.prompt) {
      if (this.#cache) {
        throw new CacheError(
          'refused',
          'The prompt is fixed: the teacher is cached and no longer in memory, so it cannot ' +
            'continue another one. Use teacher_cache=off to change it.',
        );
      }
      this.#promptChanged = true;
    }
    Object.assign(this.#config, changes);
  }

  /** Evaluates before the first step; `advance` does so otherwise. */
  async begin(): Promise<void> {
    if (!this.#evaluated) await this.#evaluate();
  }

  /** See `Trainer.rehearse`. The run continues from the same bits. */
  rehearse(): Promise<void> {
    return this.#trainer.rehearse(this.#batchesOf(1), stepSettings(this.#config, 1));
  }

  /**
   * Trains one step. Evaluates before the first one, and after it if an evaluation is due. Resolves
   * when the step is on the queue and the evaluation is done.
   */
  async advance(): Promise<void> {
    await this.begin();
    if (this.done) return;
    this.step++;
    const { twin } = this.#models;
    const other = twinConfig(this.#config);
    if (twin && other) await this.#trainBoth(twin.trainer, other);
    else await this.#train(this.#trainer, this.#config, this.step);
    await this.#explain();
    if (this.step % this.#config.eval_steps === 0 || this.done) {
      await this.drain();
      await this.#explain();
      await this.#evaluate();
    } else if (this.options.events.sample && this.#sampleIsDue()) {
      await this.drain();
      this.options.events.sample({ step: this.step, sample: await this.#sample() });
    }
  }

  #watch(record: StepRecord): void {
    const { applied, tokens, loss } = record;
    if (tokens === 0) return;
    this.#skipped = applied ? 0 : this.#skipped + 1;
    if (!Number.isFinite(loss) || this.#skipped >= SKIPPED_IN_A_ROW) this.#broken ??= record;
  }

  /** Once a step is broken, finds where its numbers stop being finite; once in a run. */
  async #explain(): Promise<void> {
    const { nonFinite } = this.options.events;
    if (!this.#broken || this.#explained || !nonFinite) return;
    this.#explained = true;
    const { step, lossScale } = this.#broken;
    const settings = stepSettings(this.#config, step);
    const batches = this.#batchesOf(step);
    const found = await this.#trainer.firstNonFinite(batches, settings, lossScale);
    if (!found) return;
    const { tensor, kernel, written } = found;
    nonFinite(written ? { step, tensor, kernel } : { step, tensor });
  }

  #sampleIsDue(): boolean {
    return this.#config.sample_tokens > 0 && (this.#promptChanged || isSampleStep(this.step));
  }

  #train(trainer: Trainer, config: Config, step: number): Promise<void> {
    const settings = { ...stepSettings(config, step), learningRate: learningRate(step, config) };
    return trainer.step(this.#batchesOf(step), settings);
  }

  /** A step of the run, and of its twin as many as its pace says. Now and then both are timed. */
  async #trainBoth(twin: Trainer, config: Config): Promise<void> {
    const [from, to] = [this.step - 1, this.step].map((step) => twinStep(this.#config, step));
    const timed = to > from && this.#pace.isDue(this.step);
    if (timed) await this.drain();
    const started = performance.now();
    await this.#train(this.#trainer, this.#config, this.step);
    if (timed) await this.drain();
    const middle = performance.now();
    for (let step = from + 1; step <= to; step++) {
      await this.#train(twin, config, step);
      if (!timed || step > from + 1) continue;
      // One step of each: several in a row wait only once for the GPU to say that it is done.
      await this.drain();
      this.#pace.add(middle - started, performance.now() - middle);
    }
  }

  #batchesOf(step: number): Batch[] {
    const { gradient_accumulation: count } = this.#config;
    return Array.from({ length: count }, (_, k) => this.#data.batches.at((step - 1) * count + k));
  }

  /**
   * Measures where a step's time goes, on the last step's batches. Call between two steps; the run
   * continues from the same bits.
   * @throws GpuError without timestamp-query, or without memory for it; the reason of an aborted
   * `signal`
   */
  async profile(signal?: AbortSignal): Promise<ProfileReport> {
    const step = Math.max(1, this.step);
    const settings = stepSettings(this.#config, step);
    const times = await this.#trainer.profile(this.#batchesOf(step), settings, signal);
    return summarise(times, await rooflineOf(this.options.gpu));
  }

  /**
   * Both models as they are now, to be asked before the next step; the run continues from the same
   * bits. A cached teacher is no longer there to ask; one with another vocabulary does not
   * understand the tokens.
   */
  voices(): { student: NextLogits; teacher?: NextLogits } {
    const { teacher, sampler } = this.#models;
    const understood = this.options.teacherTokenizer ? undefined : teacher?.next;
    return { student: sampler.voice(), teacher: understood };
  }

  /**
   * The passages of the held-out batches that the student predicts least and most like its teacher,
   * from an evaluation of its own. Call between two steps.
   * @throws Error if no batch could be evaluated
   */
  async passages(): Promise<Passages> {
    if (this.options.teacherTokenizer) throw new Error(NO_COMMON_VOCABULARY);
    const finder = new PassageFinder(this.#config.max_length);
    const { firstError } = await this.#models.evaluator.run(this.#data.heldOut, this.step, {
      onFigures: (...batch) => finder.add(...batch),
    });
    const passages = finder.passages(this.options.tokenizer);
    if (passages.worst.length === 0)
      throw new Error(firstError ?? 'The student’s or the teacher’s predictions are not finite.');
    return { step: this.step, ...passages };
  }

  /** Waits until every record has been delivered, and the last snapshot. */
  async drain(): Promise<void> {
    for (const { trainer } of this.#students) await trainer.drain();
    await this.#snapshots.arrived();
  }

  /** The current state, after every record has been delivered. */
  async save(): Promise<Snapshot> {
    await this.drain();
    return this.#snapshots.at(this.step);
  }

  /** The state of all students. */
  async #snapshot(step: number): Promise<Snapshot> {
    const [first, twin] = await Promise.all(
      this.#students.map(({ trainer }) => trainer.snapshot(step)),
    );
    return twin ? joinSnapshots(first, twin) : first;
  }

  #restore(snapshot: Snapshot): void {
    const { twin } = this.#models;
    const { count } = this.#trainer.master.plan;
    const [first, other] = twin ? splitSnapshot(snapshot, count) : [snapshot];
    this.#trainer.restore(first);
    if (other) twin?.trainer.restore(other);
  }

  /** What its recipe is written from. */
  async ingredients(): Promise<Ingredients> {
    const [config, { student }] = [this.#config, this];
    const snapshot = this.step > 0 ? await this.save() : undefined;
    return { config, student, weights: this.#initialWeights(), data: this.#data, snapshot };
  }

  /** A parameter's or an adapter's current values: see `Trainer.parameter`. */
  parameter(name: string): Promise<Float32Array> {
    return this.#trainer.parameter(name);
  }

  /** Frees everything on the GPU. */
  async destroy(): Promise<void> {
    try {
      await this.#models.destroy();
    } finally {
      // Freeing may fail on a lost device, and the recovered run opens this file again.
      await this.#cache?.file.close();
    }
  }

  async #evaluate(): Promise<void> {
    const { events } = this.options;
    const { heldOut } = this.#data;
    const tell = (batches: number) =>
      events.stage('evaluate', 'before training', batches, heldOut.length, 'batches');
    const first = this.step === 0;
    if (first) tell(0);
    const onBatch = first ? tell : undefined;
    const record = await this.#measure(this.#models.evaluator, this.#config, onBatch);
    if (!first) record.updateRatio = await this.#trainer.updateRatio();
    if (first) events.stage('evaluate', 'both models continue the prompt');
    if (this.#config.sample_tokens > 0) record.sample = await this.#sample();
    const twin = await this.#evaluateTwin(record.sample);
    this.#evaluated = true;
    events.evaluation(record);
    if (twin) events.twin?.evaluation(twin);
    const config = { ...this.#config };
    await this.#snapshots.take(this.step, (taken) => events.snapshot?.(taken, config));
  }

  /** Evaluates on the held-out batches, and says how the figures differ among their tokens. */
  async #measure(
    evaluator: Evaluator,
    { temperature, max_length: T }: Config,
    onBatch?: (computed: number) => void,
  ): Promise<EvaluationRecord> {
    this.#frequencies ??= this.#data.frequencies(this.student.vocabularySize);
    const breakdown = new Breakdown(T, this.#frequencies);
    const record = await evaluator.run(this.#data.heldOut, this.step, {
      temperature,
      onBatch,
      onFigures: (...batch) => breakdown.add(...batch),
    });
    return Object.assign(record, breakdown.of(record));
  }

  async #evaluateTwin(sample: Sample | undefined): Promise<EvaluationRecord | undefined> {
    const { twin } = this.#models;
    if (!twin) return undefined;
    const config = twinConfig(this.#config) ?? this.#config;
    const record = await this.#measure(twin.evaluator, config);
    record.step = twinStep(this.#config, this.step);
    record.equalTimePace = this.#pace.median;
    if (this.step > 0) record.updateRatio = await twin.trainer.updateRatio();
    if (sample)
      record.sample = { ...sample, student: await this.#continuePrompt(twin.sampler.generate) };
    return record;
  }

  /** Both models sample with the same random numbers, so only the models differ. */
  async #sample(): Promise<Sample> {
    const { teacher, sampler } = this.#models;
    const { prompt } = this.#config;
    this.#promptChanged = false;
    // The teacher does not change, and a cache has its text already.
    if (teacher && this.#teacherSays?.prompt !== prompt)
      this.#teacherSays = {
        prompt,
        teacher: await this.#continuePrompt(teacher.generate, this.options.teacherTokenizer),
      };
    const student = await this.#continuePrompt(sampler.generate);
    return { prompt, teacher: this.#teacherSays?.teacher ?? '', student };
  }

  #continuePrompt(generate: Generate, tokenizer = this.options.tokenizer): Promise<string> {
    const { prompt, sample_tokens: count } = this.#config;
    return sampleText(generate, tokenizer, {
      prompt,
      count,
      random: this.#random.fork('sample'),
    });
  }
}
