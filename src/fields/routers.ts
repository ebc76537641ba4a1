// Settings: how the routers of layers with experts learn.

import type { Field } from '../field';

export const ROUTER_FIELDS = {
  router_balance: {
    type: 'number',
    group: 'routers',
    label: 'Router balance',
    symbol: 'λ',
    default: 0,
    min: 0,
    max: 1,
    live: true,
    help:
      'Weight of the load-balancing loss: least where all experts of a layer are used alike. ' +
      '0.01 is usual; 0 lets a few experts take over.',
  },
  router_z: {
    type: 'number',
    group: 'routers',
    label: 'Router z-loss',
    default: 0,
    min: 0,
    max: 1,
    help:
      'Weight of the squared log-sum-exp of the routers’ logits, which keeps them from growing; ' +
      '0.001 is usual.',
  },
  router_kd: {
    type: 'number',
    group: 'routers',
    label: 'Router KD',
    default: 0,
    min: 0,
    max: 100,
    help:
      'Weight of the divergence of the student’s routers from the teacher’s, layer by layer: ' +
      'both need as many layers with as many experts.',
  },
  router_bias_rate: {
    type: 'number',
    group: 'routers',
    label: 'Router bias rate',
    default: 0,
    min: 0,
    max: 1,
    help:
      'Balances experts without a loss: a bias is added where experts are chosen, and only ' +
      'there. After each step it rises by this much for experts that got fewer tokens than the ' +
      'mean, and falls for the others. 0.001 is usual in long runs; 0 leaves it as it is. A new ' +
      'student with such a bias is a dots1.',
  },
  train_router: {
    type: 'choice',
    group: 'routers',
    label: 'Train routers',
    default: 'on',
    choices: ['on', 'off'],
    help: 'off: the routers’ weights stay as they start, and all else trains.',
  },
  train_only_router: {
    type: 'choice',
    group: 'routers',
    label: 'Train only routers',
    default: 'off',
    choices: ['off', 'on'],
    help: 'on: routers alone train, and all else is frozen.',
  },
} as const satisfies Record<string, Field>;
