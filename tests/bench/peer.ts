// The interface of the benchmark's contestants, and the tasks that they are given.

import type { Batch } from '../../src/data/batches';
import type { Architecture } from '../../src/model/family';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import type { LlamaConfig } from '../../src/model/llama/config';
import type { Contestant } from './interleave';

/** A training step: `run` takes one AdamW step on the batch and waits for it. */
export interface Training extends Contestant {
  /** A `limit` is only shown; it does not compete. */
  kind: 'ours' | 'rival' | 'limit';
  /** Mean cross-entropy before the last step's update. */
  loss(): Promise<number>;
  end(): Promise<void>;
}

export interface TrainingTask<Config = Gpt2Config> {
  model: Architecture;
  /** The model's own. */
  config: Config;
  /** By Hugging Face name. */
  weights: ReadonlyMap<string, Float32Array>;
  /** B and T of the batch. */
  B: number;
  T: number;
  batch: Batch;
}

/**
 * AdamW with decoupled decay of the matrices only, as GPT-2 is trained, but ten times as strong, so
 * that it shows within three steps. No clipping.
 */
export const ADAM = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 1,
} as const;

/** c (M, N) = a (M, K) · b (K, N), computed `repeats` times. */
export interface ProductTask {
  M: number;
  K: number;
  N: number;
  /** (M, K), or (K, M) if transposed. */
  a: Float32Array<ArrayBuffer>;
  transposeA: boolean;
  /** (K, N), or (N, K) if transposed. */
  b: Float32Array<ArrayBuffer>;
  transposeB: boolean;
  repeats: number;
}

export interface Product extends Contestant {
  /** (M, N), from the last run. */
  result(): Promise<Float32Array>;
  end(): Promise<void>;
}

/** A loss and its gradient with respect to the student's logits. */
export interface LossTask {
  /** `kd`: T² · KL(teacher ‖ student) at temperature T, mean over tokens, teacher fixed. */
  loss: 'ce' | 'kd';
  /** (B, T, V), of all logits; `sliced` takes [:, :-1] of them. */
  shape: readonly [B: number, T: number, V: number];
  sliced: boolean;
  student: Float32Array<ArrayBuffer>;
  /** Same shape; empty for `ce`. */
  teacher: Float32Array<ArrayBuffer>;
  /** One per row that the loss reads. */
  targets: Int32Array<ArrayBuffer>;
  temperature: number;
}

export interface LossRun extends Contestant {
  loss(): Promise<number>;
  /** (B, T, V), 0 where the loss did not read. */
  gradient(): Promise<Float32Array>;
  end(): Promise<void>;
}

export interface Peer {
  name: string;
  version: string;
  training(task: TrainingTask): Promise<Training>;
  /** Absent if it does not compete here, like the others. */
  llama?(task: TrainingTask<LlamaConfig>): Promise<Training>;
  product?(task: ProductTask): Promise<Product>;
  loss?(task: LossTask): Promise<LossRun>;
}
