// What a run tells whoever drives it.

import type { Config } from '../config';
import type { EvaluationRecord, NonFiniteRecord, SampleRecord, StepRecord } from './records';
import type { Snapshot } from './training-state';

/** What a stage counts. */
export type StageUnit = 'bytes' | 'kernels' | 'batches';

export type RunStage = 'cache' | 'teacher' | 'student' | 'compile' | 'evaluate';

export interface RunEvents {
  /** `done` of `total`, if the stage counts anything; in bytes if there is no other unit. */
  stage(stage: RunStage, detail: string, done?: number, total?: number, unit?: StageUnit): void;
  record(record: StepRecord): void;
  evaluation(record: EvaluationRecord): void;
  /** The state at an evaluation, with the settings then: it arrives while training goes on. */
  snapshot?(snapshot: Snapshot, config: Config): void;
  /**
   * A sample without an evaluation: after the first steps, ever less often, and after the prompt
   * has changed. Without a listener none are taken.
   */
  sample?(record: SampleRecord): void;
  /** What the twin reports, if the run has one: its steps and evaluations. */
  twin?: {
    record(record: StepRecord): void;
    evaluation(record: EvaluationRecord): void;
  };
  /** Told at most once: where the first loss or gradient that is not finite begins. */
  nonFinite?(record: NonFiniteRecord): void;
  /** A message for the user. */
  note?(text: string): void;
}
