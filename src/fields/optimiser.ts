// Settings: the optimiser, and the numbers it computes with.

import type { Field } from '../field';

export const OPTIMISER_FIELDS = {
  student_lr: {
    type: 'number',
    group: 'optimiser',
    label: 'Learning rate',
    symbol: 'lr',
    default: 0.006,
    min: 1e-7,
    max: 0.1,
    scale: 'log',
    live: true,
    help: 'Peak learning rate of AdamW.',
  },
  lr_schedule: {
    type: 'choice',
    group: 'optimiser',
    label: 'Schedule',
    default: 'cosine',
    choices: ['constant', 'linear', 'cosine'],
    help: 'How the learning rate changes after the warm-up.',
  },
  warmup_steps: {
    type: 'integer',
    group: 'optimiser',
    label: 'Warm-up steps',
    default: 20,
    min: 0,
    max: 10_000,
    help: 'Steps over which the learning rate rises from zero.',
  },
  weight_decay: {
    type: 'number',
    group: 'optimiser',
    label: 'Weight decay',
    default: 0.1,
    min: 0,
    max: 1,
    help: 'Decoupled decay of the matrices; biases and LayerNorm do not decay.',
  },
  adam_beta1: {
    type: 'number',
    group: 'optimiser',
    label: 'Adam β₁',
    default: 0.9,
    min: 0,
    max: 0.999,
    help: 'Decay rate of the running mean of the gradient.',
  },
  adam_beta2: {
    type: 'number',
    group: 'optimiser',
    label: 'Adam β₂',
    default: 0.95,
    min: 0,
    max: 0.9999,
    help: 'Decay rate of the running mean of the squared gradient.',
  },
  max_grad_norm: {
    type: 'number',
    group: 'optimiser',
    label: 'Clip at norm',
    default: 1,
    min: 0,
    max: 1000,
    help: 'A gradient with a larger global norm is scaled down to this one; 0 never clips.',
  },
  gradient_accumulation: {
    type: 'integer',
    group: 'optimiser',
    label: 'Accumulate',
    default: 1,
    min: 1,
    max: 64,
    help: 'Batches accumulated into one optimiser step.',
  },
  gradient_checkpointing: {
    type: 'choice',
    group: 'optimiser',
    label: 'Recompute',
    default: 'off',
    choices: ['off', 'on'],
    help:
      'on: recompute activations in the backward pass. ' +
      'A third more work, far less memory for long contexts.',
  },
} as const satisfies Record<string, Field>;

export const NUMERICS_FIELDS = {
  model_dtype: {
    type: 'choice',
    group: 'numerics',
    label: 'Precision',
    default: 'auto',
    choices: ['auto', 'float16', 'float32'],
    help: 'Type for storage and matrix products; auto is float16 if the adapter has shader-f16.',
  },
  initial_loss_scale: {
    type: 'number',
    group: 'numerics',
    label: 'Initial loss scale',
    default: 65536,
    min: 1,
    max: 2 ** 24,
    scale: 'log',
    help: 'Multiplies the loss in float16 so that small gradients survive; it adapts.',
  },
} as const satisfies Record<string, Field>;
