// What the Bug Lab's experiments are asked and what they report: plain data, so that it crosses to
// the page unchanged.

import type { LossPath } from '../loss-paths';
import type { EvaluationRecord, StepRecord } from '../records';

/**
 * What can keep a training loss from falling, or an evaluation from saying anything; each is
 * reproduced for real.
 */
export type Cause = 'view' | 'skipped' | 'half-weights' | 'detached';

export type Experiment =
  /** The story, three columns from the same seed: `view`, `reshape`, `strided`. */
  | {
      kind: 'replay';
      batchSize: 1 | 4;
      contextLength: 2 | 32;
      /** Where the logits are sliced and meet the loss through the column's path. */
      where: 'evaluation' | 'training';
      /** What the script does with an exception: goes on with the next batch, or stops. */
      errors: 'swallowed' | 'raised';
    }
  /** A column a cause, each on one batch that is the same in every step. */
  | { kind: 'causes' }
  /** Heads by transpose, as they should be, and by reshape, which raises nothing. */
  | { kind: 'heads' };

export type BugLabColumn = LossPath | Cause | 'transposed' | 'reshaped';

/** One attempt at an optimiser step. */
export interface StepAttempt {
  /** 1 for the first. */
  step: number;
  /** What it measured; absent where it raised. */
  record?: StepRecord;
  /** What it raised, whole. */
  error?: string;
  /**
   * Bytes that the step's loss copied to get its rows side by side, and to bring the gradient back.
   */
  bytesCopied: number;
  /** Wall time, the wait for the GPU included. */
  milliseconds: number;
}

/**
 * Attention weights of one layer on one text, as the code takes them: row = query, column = key.
 */
export interface AttentionPicture {
  layer: number;
  /** The text's tokens, T of them. */
  tokens: string[];
  /** One (T, T) matrix a head, row-major; each row sums to 1. */
  heads: number[][];
}

export type BugLabReport =
  | {
      kind: 'step';
      column: BugLabColumn;
      attempt: StepAttempt;
      /** How many steps the column trains for. */
      totalSteps: number;
    }
  | {
      kind: 'evaluation';
      column: BugLabColumn;
      record: EvaluationRecord;
      /**
       * ‖w − w₀‖ / ‖w₀‖ over all weights that the model computes with: 0 if training changed
       * nothing.
       */
      weightChange: number;
    }
  | { kind: 'attention'; column: BugLabColumn; picture: AttentionPicture }
  /** The column is done; with the error that stopped it, if one was raised. */
  | { kind: 'ended'; column: BugLabColumn; error?: string };
