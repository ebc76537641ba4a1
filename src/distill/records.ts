// What a run reports: one record an optimiser step, one an evaluation. Plain data, so that it
// crosses to the page, into a recorded run and onto a log line unchanged.

import type { LossPath } from './loss-paths';

/** One optimiser step. Losses are token means in nats. */
export interface StepRecord {
  /** 1 for the first step. */
  step: number;
  /**
   * What was minimised: alpha·T²·KD + (1 − alpha)·CE for `mixed`, CE for `ce`. NaN if no target was
   * valid.
   */
  loss: number;
  /** Cross-entropy with the data. */
  ce: number;
  /** KL(teacher ‖ student) at temperature T, without T²; NaN for a run without a teacher. */
  kd: number;
  /** Global norm of the gradient before clipping, unscaled. */
  gradNorm: number;
  learningRate: number;
  /** The loss scale that this step ran with; 1 where there is no scaling. */
  lossScale: number;
  /** False if the step was skipped: a gradient was not finite, or no target was valid. */
  applied: boolean;
  /** Steps applied and skipped up to and including this one. */
  appliedTotal: number;
  skippedTotal: number;
  /** Targets that counted. */
  tokens: number;
}

/** The same prompt, continued by both models. */
export interface Sample {
  prompt: string;
  teacher: string;
  student: string;
}

/** One evaluation on held-out text, at temperature 1. */
export interface EvaluationRecord {
  /** Optimiser steps done when it ran; 0 is before training. */
  step: number;
  /** Batches tried = succeeded + failed. */
  tried: number;
  succeeded: number;
  failed: number;
  /** The first failed batch's whole error, with sizes and strides. */
  firstError?: string;
  /**
   * Valid tokens behind the figures; with none, every figure below is undefined ("n/a"), never a
   * number.
   */
  tokens: number;
  /** exp of the mean negative log-likelihood. Never clamped. */
  studentPerplexity?: number;
  teacherPerplexity?: number;
  /** Mean KL(teacher ‖ student), nats a token. */
  kl?: number;
  /**
   * Where the teacher is cached: the words of each row that `kl` is over, the rest counting as one
   * more. All where it is absent.
   */
  klWords?: number;
  /** Share of tokens on which both models' most likely next token is the same, 0 to 1. */
  agreement?: number;
  /** How logits met the loss, and what that copied. */
  path: LossPath;
  bytesCopied: number;
  /** Wall time of the evaluation. */
  milliseconds: number;
  sample?: Sample;
}
