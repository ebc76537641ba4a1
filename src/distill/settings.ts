// What a trainer is built with, and what a step may change.

import type { Config } from '../config';
import type { AdamW } from '../kernels/optimiser';
import type { Architecture } from '../model/family';
import type { Arena } from '../model/parameters';
import type { LossPath } from './loss-paths';
import type { LossSettings } from './losses';
import { type RouterWeights, routerWeights } from './router-losses';

/** For each of the teacher's W tokens the student's of the same text, −1 without one. */
export type MatchTokens = (W: number) => Int32Array;

export interface TrainerSettings {
  student: Architecture;
  /** Storage and matrix products; sums, losses and master weights are f32 in either case. */
  dtype: 'f16' | 'f32';
  /** B */
  batchSize: number;
  /** T */
  contextLength: number;
  loss: LossSettings;
  /** Which tokens of the two vocabularies are the same text, for the loss gold. */
  matches?: MatchTokens;
  adam: Omit<AdamW, 'dynamicScale'>;
  /** Factor of the loss, so that small gradients survive f16. Unused if `lossScaling` is off. */
  initialLossScale: number;
  /** Whether the loss is scaled, and the scale adapts. By default dynamic in f16, off in f32. */
  lossScaling?: 'dynamic' | 'static' | 'off';
  /** How a frozen student's linear layers are stored; `full`, in `dtype`, by default. */
  baseWeights?: 'full' | 'int8';
  /** Frozen weights of a trainer with the same start, which fills and frees them. */
  frozen?: Arena;
  /** How far a step moves the biases by which routers choose experts; by default not at all. */
  routerBiasRate?: number;
  /** Attention stays inside each document of a row: batches say where they begin. */
  masked?: boolean;
  /** Compute a block's activations again in the backward pass instead of keeping them. */
  recompute?: boolean;
  /** Logits per chunk of the head, in elements; a chunk has as many whole rows as fit. */
  chunkElements?: number;
  /**
   * How logits meet their labels: `labels`, the default, shifts the labels when the batch is made;
   * the other paths slice the logits.
   */
  lossPath?: LossPath | 'labels';
}

/** What may change from step to step. */
export interface StepSettings {
  /** 1 for the first. */
  step: number;
  learningRate: number;
  temperature: number;
  alpha: number;
  /** Of a student with experts; without them its routers’ losses are only measured. */
  routers?: RouterWeights;
}

/** What a run's settings say of a step. */
export const stepSettings = (config: Config, step: number): Omit<StepSettings, 'learningRate'> => ({
  step,
  temperature: config.temperature,
  alpha: config.alpha,
  routers: routerWeights(config),
});

export const lossScalingOf = ({ lossScaling, dtype }: TrainerSettings) =>
  lossScaling ?? (dtype === 'f16' ? 'dynamic' : 'off');
