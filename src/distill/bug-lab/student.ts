// A student of the Bug Lab: a trainer and an evaluator with one column's settings.

import { DEFAULTS } from '../../config';
import type { Batch } from '../../data/batches';
import type { Gpu } from '../../gpu/device';
import type { Pool } from '../../gpu/program';
import type { Gpt2 } from '../../model/gpt2/gpt2';
import { fromHalf, roundToHalf } from '../../tensor/dtype';
import { LayoutError } from '../../tensor/layout';
import { Evaluator } from '../evaluate';
import type { LossPath } from '../loss-paths';
import type { EvaluationRecord, StepRecord } from '../records';
import type { TrainerSettings } from '../settings';
import type { TeacherSource } from '../teacher/teacher';
import { Trainer } from '../trainer';
import type { StepAttempt } from './records';

export interface BugLabSettings {
  architecture: Gpt2;
  dtype: 'f16' | 'f32';
  /** B and T. */
  shape: [number, number];
  /** Initial values by name. */
  weights: ReadonlyMap<string, Float32Array>;
  learningRate: number;
  weightDecay: number;
  lossPath: NonNullable<TrainerSettings['lossPath']>;
  evaluationPath: LossPath;
  /** The settings of the trainer that make the column's fault. */
  fault?: Partial<TrainerSettings>;
  /** Round the weights to f16 after each step, as an optimiser without f32 master weights does. */
  halfWeights?: boolean;
}

export class BugLabStudent {
  /** Attempts so far. */
  step = 0;
  #trainer!: Trainer;
  #evaluator!: Evaluator;
  readonly #records: StepRecord[] = [];
  #start!: Float32Array;

  private constructor(private readonly settings: BugLabSettings) {}

  static async create(
    gpu: Gpu,
    pool: Pool,
    teacher: TeacherSource,
    settings: BugLabSettings,
  ): Promise<BugLabStudent> {
    const { architecture, dtype, shape, lossPath, fault, weightDecay } = settings;
    const student = new BugLabStudent(settings);
    student.#trainer = await Trainer.create(
      gpu,
      pool,
      {
        student: architecture,
        dtype,
        batchSize: shape[0],
        contextLength: shape[1],
        lossPath,
        loss: DEFAULTS,
        initialLossScale: DEFAULTS.initial_loss_scale,
        adam: {
          beta1: DEFAULTS.adam_beta1,
          beta2: DEFAULTS.adam_beta2,
          epsilon: 1e-8,
          weightDecay,
          maxGradNorm: DEFAULTS.max_grad_norm,
        },
        ...fault,
      },
      settings.weights,
      teacher,
      (record) => student.#records.push(record),
    );
    try {
      student.#evaluator = new Evaluator(
        gpu,
        pool,
        student.model,
        teacher,
        shape,
        settings.evaluationPath,
      );
      student.#start = await student.#weights();
    } catch (error) {
      student.destroy();
      throw error;
    }
    return student;
  }

  /** The trained model, as GPT-2. */
  get model() {
    return this.settings.architecture.withWeights(this.#trainer.weights);
  }

  /** Does one optimiser step and waits for it. Reports a LayoutError; throws any other error. */
  async attempt(batch: Batch): Promise<StepAttempt> {
    const { learningRate, halfWeights } = this.settings;
    const step = ++this.step;
    const started = performance.now();
    try {
      const { temperature, alpha } = DEFAULTS;
      await this.#trainer.step([batch], { step, learningRate, temperature, alpha });
      await this.#trainer.drain();
    } catch (error) {
      if (!(error instanceof LayoutError)) throw error;
      return {
        step,
        error: error.message,
        bytesCopied: 0,
        milliseconds: performance.now() - started,
      };
    }
    const milliseconds = performance.now() - started;
    if (halfWeights) await this.#roundWeights();
    return {
      step,
      record: this.#records.pop(),
      bytesCopied: this.#trainer.bytesCopied,
      milliseconds,
    };
  }

  async evaluate(batches: Batch[]): Promise<{ record: EvaluationRecord; weightChange: number }> {
    const record = await this.#evaluator.run(batches, this.step);
    const now = await this.#weights();
    let [change, size] = [0, 0];
    for (const [i, start] of this.#start.entries()) {
      change += (now[i] - start) ** 2;
      size += start ** 2;
    }
    return { record, weightChange: Math.sqrt(change / size) };
  }

  destroy(): void {
    this.#evaluator?.destroy();
    this.#trainer.destroy();
  }

  /** The weights that the kernels read. */
  async #weights(): Promise<Float32Array> {
    const { weights } = this.#trainer;
    const bytes = await weights.save();
    return weights.dtype === 'f16' ? fromHalf(new Uint16Array(bytes)) : new Float32Array(bytes);
  }

  async #roundWeights(): Promise<void> {
    const state = await this.#trainer.snapshot(this.step);
    const master = new Float32Array(state.master).map(roundToHalf);
    this.#trainer.restore({ ...state, master: master.buffer });
  }
}
