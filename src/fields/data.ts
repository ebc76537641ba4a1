// Settings: the batches to train on, and the evaluation on held-out ones.

import { TEXTS, type TextName } from '../built-in';
import type { Field } from '../field';

export const DATA_FIELDS = {
  corpus: {
    type: 'choice',
    group: 'data',
    label: 'Built-in text',
    default: 'auto',
    choices: ['auto', ...(Object.keys(TEXTS) as TextName[])],
    help: 'auto: the text that the built-in teacher was trained on. Your own text replaces it.',
  },
  packing: {
    type: 'choice',
    group: 'data',
    label: 'Pack documents',
    default: 'on',
    choices: ['on', 'masked', 'off'],
    help:
      'on: rows are windows over all documents; attention sees across borders. masked: the same ' +
      'rows; attention and positions stay inside each document. off: one document a row.',
  },
  assistant_only_loss: {
    type: 'choice',
    group: 'data',
    label: 'Assistant only',
    default: 'on',
    choices: ['on', 'off'],
    help:
      'For conversations. on: the loss counts only what the assistant says. ' +
      'off: all of the chat template’s text.',
  },
  batch_size: {
    type: 'integer',
    group: 'data',
    label: 'Batch size',
    default: 8,
    min: 1,
    max: 64,
    help: 'Sequences per batch.',
  },
  max_length: {
    type: 'integer',
    group: 'data',
    label: 'Context',
    default: 64,
    min: 2,
    max: 1024,
    help: 'Tokens per sequence; at most the teacher’s context length.',
  },
  seed: {
    type: 'integer',
    group: 'data',
    label: 'Seed',
    default: 1,
    min: 0,
    max: 2 ** 31 - 1,
    help:
      'Sets the initial weights and the order of the data. ' +
      'The same seed and adapter give the same bits.',
  },
} as const satisfies Record<string, Field>;

export const EVALUATION_FIELDS = {
  eval_steps: {
    type: 'integer',
    group: 'evaluation',
    label: 'Evaluate every',
    default: 20,
    min: 1,
    max: 10_000,
    help: 'Steps between evaluations on held-out text.',
  },
  eval_batches: {
    type: 'integer',
    group: 'evaluation',
    label: 'Evaluation batches',
    default: 4,
    min: 1,
    max: 256,
    help: 'Held-out batches per evaluation.',
  },
  eval_loss_path: {
    type: 'choice',
    group: 'evaluation',
    label: 'Loss path',
    default: 'strided',
    choices: ['strided', 'reshape', 'view'],
    help:
      'How the loss reads sliced logits: strided reads them in place, reshape copies them, ' +
      'view fails where PyTorch’s view does.',
  },
  prompt: {
    type: 'text',
    group: 'evaluation',
    label: 'Prompt',
    default: 'The whale',
    maxLength: 200,
    live: true,
    help: 'Text that both models continue at each evaluation.',
  },
  sample_tokens: {
    type: 'integer',
    group: 'evaluation',
    label: 'Sample length',
    default: 32,
    min: 0,
    max: 256,
    help: 'Tokens that each model generates after the prompt; 0 turns samples off.',
  },
} as const satisfies Record<string, Field>;
