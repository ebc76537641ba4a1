// Settings: the loss, and how long it is minimised.

import { ALIGNED_NAMES, DIVERGENCE_NAMES, TEACHER_LOSSES } from '../divergences';
import type { Field } from '../field';

const and = new Intl.ListFormat('en-GB');
const or = new Intl.ListFormat('en-GB', { type: 'disjunction' });
const kdLosses = [...DIVERGENCE_NAMES, ...ALIGNED_NAMES];
const labels = kdLosses.map((name) => TEACHER_LOSSES[name].label);
const takingBeta = kdLosses.filter((name) => TEACHER_LOSSES[name].takesBeta);

export const RECIPE_FIELDS = {
  loss: {
    type: 'choice',
    group: 'recipe',
    label: 'Loss',
    default: 'mixed',
    choices: ['mixed', 'ce', ...kdLosses],
    help:
      'mixed: alpha·T²·KD + (1 − alpha)·CE. ce: only the data. The others: only the teacher, ' +
      'T²·KD. uld and gold need no common vocabulary; w is the share that is common.',
  },
  kd_loss: {
    type: 'choice',
    group: 'recipe',
    label: 'KD loss',
    default: 'fkl',
    choices: kdLosses,
    help: `The divergence in mixed: ${or.format(labels)}.`,
  },
  kd_beta: {
    type: 'number',
    group: 'recipe',
    label: 'β',
    default: 0.5,
    min: 0.01,
    max: 0.99,
    help: `Mixing weight in ${and.format(takingBeta)}; the others do not use it.`,
  },
  label_smoothing: {
    type: 'number',
    group: 'recipe',
    label: 'Label smoothing',
    default: 0,
    min: 0,
    max: 0.5,
    help: 'Share of each target that CE spreads over the vocabulary.',
  },
  z_loss: {
    type: 'number',
    group: 'recipe',
    label: 'z-loss',
    default: 0,
    min: 0,
    max: 0.1,
    help: 'Weight of the squared log-sum-exp of the logits in CE; it keeps logits from growing.',
  },
  alpha: {
    type: 'number',
    group: 'recipe',
    label: 'alpha',
    symbol: 'α',
    default: 0.7,
    min: 0,
    max: 1,
    live: true,
    help: 'Weight of the teacher’s loss; the data’s loss gets the rest.',
  },
  temperature: {
    type: 'number',
    group: 'recipe',
    label: 'Temperature',
    symbol: 'T',
    default: 2,
    min: 0.25,
    max: 16,
    scale: 'log',
    live: true,
    help: 'Softens both distributions before they are compared.',
  },
  twin: {
    type: 'text',
    group: 'recipe',
    label: 'Twin',
    default: '',
    maxLength: 60,
    accepts: (text) => text === '' || /^[a-z_0-9]+=./.test(text),
    expected: 'empty, or a setting and its value for the second student, such as loss=ce',
    help:
      'Trains a second student from the same start on the same batches with one setting changed. ' +
      'loss=ce learns without the teacher.',
  },
  twin_pace: {
    type: 'number',
    group: 'recipe',
    label: 'Twin’s pace',
    default: 1,
    min: 0.1,
    max: 10,
    help:
      'Steps of the twin for each step of the run. 1: equal steps. What gives equal time depends ' +
      'on the machine; the page measures it.',
  },
  train_loss_path: {
    type: 'choice',
    group: 'recipe',
    label: 'Training loss path',
    default: 'labels',
    choices: ['labels', 'strided', 'reshape', 'view'],
    help:
      'labels shifts the labels. The others slice the logits, all in memory at once: strided ' +
      'reads them in place, reshape copies them, view fails where PyTorch’s view does.',
  },
  train_steps: {
    type: 'integer',
    group: 'recipe',
    label: 'Steps',
    default: 200,
    min: 1,
    max: 100_000,
    scale: 'log',
    help: 'Number of optimiser steps.',
  },
} as const satisfies Record<string, Field>;
