// What the Doctor looks at: a run's settings, what is known of it before it trains, and its records
// so far. Plain data, and the few statistics of it that several rules need.

import type { Config } from '../config';
import type { DataFacts, EvaluationRecord, NonFiniteRecord, StepRecord } from '../distill/records';

/** What is known before the first step. */
export interface RunFacts {
  dtype: 'float16' | 'float32';
  studentParameters: number;
  /** V */
  vocabularySize: number;
  /** Undefined where the data has not been read yet. */
  data?: DataFacts;
  /** GPU memory that the run was planned to take, in bytes by purpose. */
  plannedMemory?: Readonly<Record<string, number>>;
}

export interface Evidence {
  /** The settings as they are now; some may have changed during the run. */
  config: Config;
  facts: RunFacts;
  /** In order. Of a long run the first and the latest ones: see `Doctor`. */
  steps: readonly StepRecord[];
  /** In order, all of them. */
  evaluations: readonly Evaluation[];
  /** GPU memory in use, in bytes, at some of the steps. */
  memory?: readonly { step: number; bytes: number }[];
  nonFinite?: NonFiniteRecord;
}

export type Evaluation = EvaluationRecord & {
  /**
   * ‖w − w₀‖ / ‖w₀‖ over the weights that the kernels read, w₀ at the start; absent where it is not
   * measured.
   */
  weightChange?: number;
};

/** The middle value; of an even number of values the upper of the two. NaN without any. */
export function median(values: readonly number[]): number {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : sorted[Math.floor(sorted.length / 2)];
}

/** How many of the latest steps were skipped, without an applied one among them. */
export function skippedInARow(steps: readonly StepRecord[]): StepRecord[] {
  const last = steps.findLastIndex(({ applied }) => applied);
  return steps.slice(last + 1);
}

/** The evaluations that measured the student. */
export const measured = ({ evaluations }: Evidence) =>
  evaluations.filter(
    (record): record is Evaluation & { studentPerplexity: number } =>
      record.studentPerplexity !== undefined && Number.isFinite(record.studentPerplexity),
  );

/** The evaluation before training, if it measured the student. */
export function atStart(
  evidence: Evidence,
): (Evaluation & { studentPerplexity: number }) | undefined {
  const first = measured(evidence).at(0);
  return first?.step === 0 ? first : undefined;
}

/**
 * The share of the way from the student's held-out loss at the start to the teacher's that training
 * has covered, in nats; negative if the student got worse. Undefined where it starts as good as the
 * teacher, or one of them was not measured.
 */
export function gapCovered(evidence: Evidence): number | undefined {
  const start = atStart(evidence);
  const last = measured(evidence).at(-1);
  if (!start || !last || last.step === 0 || !last.teacherPerplexity) return undefined;
  const gap = Math.log(start.studentPerplexity / last.teacherPerplexity);
  if (gap < LEAST_GAP) return undefined;
  return Math.log(start.studentPerplexity / last.studentPerplexity) / gap;
}

/** In nats: a student closer to its teacher has little to show. */
const LEAST_GAP = 0.3;

/** The step from which the learning rate is no longer warming up. */
export const warm = ({ config }: Evidence): number =>
  Math.min(config.warmup_steps, Math.floor(config.train_steps / 2));
