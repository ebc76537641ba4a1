// What each of the others does in the benchmark, and what they are told. The workloads know them by
// this alone.

import type { Batch } from '../../src/data/batches';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import type { Contestant } from './interleave';

/** A GPT-2 training step: `run` takes one AdamW step on the batch and waits for it. */
export interface Training extends Contestant {
  /** In the race, or only to look at. */
  kind: 'ours' | 'rival' | 'limit';
  /** Mean cross-entropy that the last step began with. */
  loss(): Promise<number>;
  end(): Promise<void>;
}

export interface TrainingTask {
  config: Gpt2Config;
  /** By Hugging Face name. */
  weights: ReadonlyMap<string, Float32Array>;
  /** B and T of the batch. */
  B: number;
  T: number;
  batch: Batch;
}

/**
 * AdamW: decoupled decay of the matrices alone, as GPT-2 is trained, ten times as strong, so that
 * it shows in three steps. No clipping.
 */
export const ADAM = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 1,
} as const;

/** c (M, N) = a (M, K) · b (K, N), `repeats` times over. */
export interface ProductTask {
  M: number;
  K: number;
  N: number;
  /** (M, K), or (K, M) where transposed. */
  a: Float32Array<ArrayBuffer>;
  transposeA: boolean;
  /** (K, N), or (N, K) where transposed. */
  b: Float32Array<ArrayBuffer>;
  transposeB: boolean;
  repeats: number;
}

export interface Product extends Contestant {
  /** (M, N), of the last run. */
  result(): Promise<Float32Array>;
  end(): Promise<void>;
}

/** A loss and its gradient with respect to the student's logits. */
export interface LossTask {
  /**
   * `kd`: T² · KL(teacher ‖ student) at temperature T, a mean over tokens; its teacher is not
   * differentiated.
   */
  loss: 'ce' | 'kd';
  /** The logits' shape (B, T, V), which are all held; `sliced` takes [:, :-1] of them. */
  shape: readonly [B: number, T: number, V: number];
  sliced: boolean;
  student: Float32Array<ArrayBuffer>;
  /** Of the same shape; for `kd`. */
  teacher: Float32Array<ArrayBuffer>;
  /** One for each row that the loss sees. */
  targets: Int32Array<ArrayBuffer>;
  temperature: number;
}

export interface LossRun extends Contestant {
  loss(): Promise<number>;
  /** (B, T, V), 0 where the loss did not look. */
  gradient(): Promise<Float32Array>;
  end(): Promise<void>;
}

export interface Peer {
  name: string;
  version: string;
  training(task: TrainingTask): Promise<Training>;
  /** Absent where it is no rival. */
  product?(task: ProductTask): Promise<Product>;
  loss?(task: LossTask): Promise<LossRun>;
}
