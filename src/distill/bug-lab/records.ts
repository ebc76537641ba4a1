// The Bug Lab's experiments and their reports: plain data, which goes to the page unchanged.

import type { LossPath } from '../loss-paths';
import type { EvaluationRecord, StepRecord } from '../records';

/** Faults that keep a training loss from falling or an evaluation from counting anything. */
export type Cause = 'view' | 'skipped' | 'half-weights' | 'detached';

export type Experiment =
  /** The original bug in three columns from the same seed: `view`, `reshape`, `strided`. */
  | {
      kind: 'replay';
      batchSize: 1 | 4;
      contextLength: 2 | 32;
      /** Where the logits are sliced by the column's path. */
      where: 'evaluation' | 'training';
      /** Whether the script continues with the next batch after an exception, or stops. */
      errors: 'swallowed' | 'raised';
    }
  /** One column per cause, each with the same batch at every step. */
  | { kind: 'causes' }
  /** Heads split by transpose, which is right, and by reshape, which raises nothing. */
  | { kind: 'heads' };

export type BugLabColumn = LossPath | Cause | 'transposed' | 'reshaped';

/** One attempt at an optimiser step. */
export interface StepAttempt {
  /** 1 for the first. */
  step: number;
  /** Absent if it raised. */
  record?: StepRecord;
  /** The whole message that it raised. */
  error?: string;
  /** Bytes that the step's loss copied: slices of logits, and the gradient back. */
  bytesCopied: number;
  /** Wall time, including the wait for the GPU. */
  milliseconds: number;
}

/** Attention weights of one layer on one text: row = query, column = key. */
export interface AttentionPicture {
  layer: number;
  /** The text, T tokens. */
  tokens: string[];
  /** One (T, T) matrix per head, row-major; each row sums to 1. */
  heads: number[][];
}

export type BugLabReport =
  | {
      kind: 'step';
      column: BugLabColumn;
      attempt: StepAttempt;
      /** Steps that the column trains for. */
      totalSteps: number;
    }
  | {
      kind: 'evaluation';
      column: BugLabColumn;
      record: EvaluationRecord;
      /** ‖w − w₀‖ / ‖w₀‖ over the weights that the kernels read: 0 if training changed nothing. */
      weightChange: number;
    }
  | { kind: 'attention'; column: BugLabColumn; picture: AttentionPicture }
  /** The end of the column, with the error that stopped it, if one did. */
  | { kind: 'ended'; column: BugLabColumn; error?: string };
