// What a run reports: one record per optimiser step and per evaluation. Plain data, which goes to
// the page, to a recorded run and to metrics.jsonl unchanged.

import type { LossPath } from './loss-paths';

/** One optimiser step. Losses are token means in nats. */
export interface StepRecord {
  /** 1 for the first step. */
  step: number;
  /**
   * The minimised loss: alpha·T²·KD + (1 − alpha)·CE for `mixed`, CE for `ce`. NaN without a valid
   * target. With the routers' losses, by their weights, where layers have experts.
   */
  loss: number;
  /** Cross-entropy with the data. */
  ce: number;
  /** KL(teacher ‖ student) at temperature T, without T²; NaN for a loss without a teacher. */
  kd: number;
  /** Global norm of the gradient before clipping, unscaled. */
  gradNorm: number;
  learningRate: number;
  /** The loss scale of this step; 1 without scaling. */
  lossScale: number;
  /** False if the step was skipped: a gradient was not finite, or there was no valid target. */
  applied: boolean;
  /** Steps applied and skipped up to and including this one. */
  appliedTotal: number;
  skippedTotal: number;
  /** Valid targets. */
  tokens: number;
  /**
   * Of a student whose layers have experts, whether or not they are minimised. The balance loss is
   * the number of experts that a token chooses where all experts are used alike, and more where
   * some are preferred. The z-loss is the mean squared log-sum-exp of the routers' logits.
   */
  routerBalance?: number;
  routerZ?: number;
  /** Mean KL(teacher's router ‖ student's), where the student's learn from the teacher's. */
  routerKd?: number;
  /**
   * Seconds since training began, without pauses, when the record arrived, a few steps after its
   * own. Whoever runs the steps adds it: it is no result, and differs each time.
   */
  seconds?: number;
}

/** Where a number that is not finite was first seen in a step's forward and backward pass. */
export interface NonFiniteRecord {
  step: number;
  tensor: string;
  /** What wrote it; absent if no kernel of the student did: a weight, or the teacher's logits. */
  kernel?: string;
}

/** One prompt, continued by both models. */
export interface Sample {
  prompt: string;
  teacher: string;
  student: string;
}

/** What both models say after a step. */
export interface SampleRecord {
  /** Optimiser steps before it; 0 is before training. */
  step: number;
  sample: Sample;
}

/** Mean KL(teacher ‖ student) of the tokens whose measure is `from` to `to`, in nats. */
export type KlGroup = [from: number, to: number, tokens: number, kl: number];

/**
 * The tokens in whose place the student's most likely one had a probability of `from` to `to`: the
 * mean of that probability, and how often that one was right.
 */
export type CalibrationGroup = [
  from: number,
  to: number,
  tokens: number,
  confidence: number,
  accuracy: number,
];

/** How the held-out tokens used the experts of a layer. */
export interface ExpertUse {
  /** From 0. */
  layer: number;
  /** k: the experts that a token chooses. */
  chosen: number;
  /** Each expert's share of the tokens' choices; they sum to 1. An expert of 0 is dead. */
  load: number[];
  /** Mean entropy of the router's probabilities, in nats; ln E for one that prefers no expert. */
  entropy: number;
}

/** One evaluation on held-out text, at temperature 1. */
export interface EvaluationRecord {
  /** Optimiser steps before it; 0 is before training. */
  step: number;
  /** Batches tried = succeeded + failed. */
  tried: number;
  succeeded: number;
  failed: number;
  /** The first failed batch's whole message, with sizes and strides. */
  firstError?: string;
  /** Valid targets behind the figures. If 0, every figure below is undefined, shown as "n/a". */
  tokens: number;
  /** exp of the mean negative log-likelihood. Never clamped. */
  studentPerplexity?: number;
  teacherPerplexity?: number;
  /** Mean KL(teacher ‖ student), nats a token. */
  kl?: number;
  /** With a top-k cache: `kl` is over this many tokens per position and one tail. Else over all. */
  klWords?: number;
  /** Share of tokens on which both models' most likely next token is the same, 0 to 1. */
  agreement?: number;
  /**
   * Mean entropy of the next token, nats: of both models at temperature 1, and of the teacher at
   * the training temperature.
   */
  teacherEntropy?: number;
  studentEntropy?: number;
  softEntropy?: number;
  /** Share of both models' five most likely tokens that are the same, 0 to 1. */
  overlap?: number;
  /** The teacher's probability of the student's five most likely tokens. */
  overlapMass?: number;
  /** Mean probability that the student gives its most likely token, and how often it is right. */
  confidence?: number;
  accuracy?: number;
  /**
   * `kl` by the number of tokens before a token that the models see, and by how often the token is
   * in the training text; groups without a token are left out.
   */
  klByPosition?: KlGroup[];
  klByFrequency?: KlGroup[];
  calibration?: CalibrationGroup[];
  /** Of each of the student's layers that has experts. */
  experts?: ExpertUse[];
  /** ‖Δw‖ / ‖w‖ of the last step's update, over the student's master weights. */
  updateRatio?: number;
  /** For a text of questions: answers in the batches, and how many each model gives in full. */
  answers?: { tried: number; studentRight: number; teacherRight: number };
  /**
   * Of a twin: how many of its steps take as long as one of the run's, measured here. Undefined
   * until it is.
   */
  equalTimePace?: number;
  path: LossPath;
  /** Copied by the loss path, over all batches. */
  bytesCopied: number;
  /** Wall time of the evaluation. */
  milliseconds: number;
  sample?: Sample;
}

/** What is known of a run's text before it trains. */
export interface DataFacts {
  documents: number;
  /** Tokens of the median document. */
  medianDocument: number;
  trainTokens: number;
  heldOutTokens: number;
  /** Windows of T tokens in one pass over the training text. */
  windows: number;
  /** Bytes of UTF-8 that a training token stands for. */
  bytesPerToken: number;
  /** The most frequent training token, and its share of them. */
  mostFrequent: { text: string; share: number };
  /** Perplexity on the held-out text of counting the training tokens, each once more than seen. */
  unigramPerplexity: number;
  /** Share of the training tokens that are learned; none if all are. */
  learnedShare?: number;
}
