// How each built-in teacher is made: a row each.

import type { BuiltInName } from '../built-in';

export interface TeacherRecipe {
  /** Tokens in its vocabulary; 257 are the bytes alone and the end of text. */
  vocabulary: number;
  /** T, in tokens. */
  context: number;
  width: number;
  layers: number;
  heads: number;
  /** B, in sequences. */
  batch: number;
  steps: number;
  /** The highest learning rate, after a warm-up of WARMUP steps; then a cosine to zero. */
  learning_rate: number;
  weight_decay: number;
  /** Share of the input tokens that training replaces by random ones of the text. */
  noise: number;
}

export const RECIPES: Record<BuiltInName, TeacherRecipe> = {
  'austen-teacher': {
    vocabulary: 2048,
    context: 128,
    width: 192,
    layers: 4,
    heads: 6,
    batch: 16,
    steps: 6500,
    learning_rate: 2e-3,
    weight_decay: 0.3,
    noise: 0.04,
  },
  'moby-teacher': {
    vocabulary: 1024,
    context: 128,
    width: 160,
    layers: 4,
    heads: 5,
    batch: 16,
    steps: 4000,
    learning_rate: 2e-3,
    weight_decay: 0.5,
    noise: 0.1,
  },
  'sorting-teacher': {
    vocabulary: 257,
    context: 128,
    width: 96,
    layers: 3,
    heads: 4,
    batch: 32,
    steps: 3000,
    learning_rate: 3e-3,
    weight_decay: 0.1,
    noise: 0,
  },
};
