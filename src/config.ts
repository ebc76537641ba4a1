// The table of settings: the page's controls, the link and the command line all read these rows.
// Names are those of the training script that this project grew from, where it had one.

import { checkValue, type Field, shown, taken } from './field';
import { modelReference } from './model-reference';

export { type Field, shown } from './field';

const MODEL =
  'moby-teacher, files, or an id of the hub such as openai-community/gpt2 or org/name@revision';

export const FIELDS = {
  teacher_model: {
    type: 'text',
    group: 'models',
    label: 'Teacher',
    default: 'moby-teacher',
    maxLength: 200,
    accepts: (text) => modelReference(text) !== undefined,
    takes: MODEL,
    help: 'The model whose predictions are taught: built in, of the hub (org/name@revision), or dropped files.',
  },
  student_model: {
    type: 'text',
    group: 'models',
    label: 'Student starts from',
    default: '',
    maxLength: 200,
    accepts: (text) => text === '' || modelReference(text) !== undefined,
    takes: `nothing for a new student, teacher for some of the teacher’s layers, or a checkpoint: ${MODEL}`,
    help: 'Empty: new, of the sizes below. teacher: the layers named below. Or a GPT-2, as for the teacher.',
  },
  student_from_layers: {
    type: 'text',
    group: 'models',
    label: 'Teacher’s layers',
    default: '',
    maxLength: 1000,
    accepts: (text) => text === '' || /^\d{1,3}(,\d{1,3})*$/.test(text),
    takes: 'layer numbers with commas between them, such as 0,2,4,7,9,11',
    help: 'With student_model=teacher: the layers it starts from, counted from 0. DistilGPT2 took 0,2,4,7,9,11.',
  },
  student_layers: {
    type: 'integer',
    group: 'models',
    label: 'Student layers',
    default: 2,
    min: 1,
    max: 12,
    help: 'Transformer blocks of the student.',
  },
  student_width: {
    type: 'integer',
    group: 'models',
    label: 'Student width',
    default: 64,
    min: 16,
    max: 768,
    help: 'Embedding size; a multiple of 4 × heads.',
  },
  student_heads: {
    type: 'integer',
    group: 'models',
    label: 'Student heads',
    default: 2,
    min: 1,
    max: 12,
    help: 'Attention heads; they share the width.',
  },
  teacher_cache: {
    type: 'choice',
    group: 'models',
    label: 'Cache teacher',
    default: 'off',
    choices: ['off', 'on'],
    help: 'on writes what the teacher says of every batch to disk first; its memory is then free for the student.',
  },
  cache_top_k: {
    type: 'integer',
    group: 'models',
    label: 'Words kept',
    default: 64,
    min: 0,
    max: 2 ** 20,
    help: 'Likeliest words of each position that the cache keeps, the rest as one; 0 keeps all and serves every loss and temperature.',
  },
  loss: {
    type: 'choice',
    group: 'recipe',
    label: 'Loss',
    default: 'mixed',
    choices: ['mixed', 'ce', 'fkl', 'rkl', 'jsd', 'sfkl', 'srkl', 'tvd'],
    help: 'mixed: alpha·T²·KD + (1 − alpha)·CE. ce: the data alone. The others: the teacher alone, T²·KD.',
  },
  kd_loss: {
    type: 'choice',
    group: 'recipe',
    label: 'KD of mixed',
    default: 'fkl',
    choices: ['fkl', 'rkl', 'jsd', 'sfkl', 'srkl', 'tvd'],
    help: 'Forward or reverse KL, generalised JSD, skew forward or reverse KL, total variation.',
  },
  kd_beta: {
    type: 'number',
    group: 'recipe',
    label: 'β',
    default: 0.5,
    min: 0.01,
    max: 0.99,
    help: 'Weight of the mixture in jsd, sfkl and srkl; the others have none.',
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
    help: 'Weight of lse² in CE; keeps logits from growing.',
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
    help: 'Weight of the teacher; the rest goes to the data.',
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
  train_loss_path: {
    type: 'choice',
    group: 'recipe',
    label: 'Training loss path',
    default: 'labels',
    choices: ['labels', 'strided', 'reshape', 'view'],
    help: 'Labels shifted when the batch is made, or logits sliced: read in place, copied, or as PyTorch’s view. A slice takes all logits at once.',
  },
  train_steps: {
    type: 'integer',
    group: 'recipe',
    label: 'Steps',
    default: 200,
    min: 1,
    max: 100_000,
    scale: 'log',
    help: 'Optimiser steps.',
  },
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
    help: 'What the learning rate does after the warm-up.',
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
    help: 'Decoupled decay of matrices; biases and LayerNorm have none.',
  },
  adam_beta1: {
    type: 'number',
    group: 'optimiser',
    label: 'Adam β₁',
    default: 0.9,
    min: 0,
    max: 0.999,
    help: 'Memory of the mean gradient.',
  },
  adam_beta2: {
    type: 'number',
    group: 'optimiser',
    label: 'Adam β₂',
    default: 0.95,
    min: 0,
    max: 0.9999,
    help: 'Memory of the squared gradient.',
  },
  max_grad_norm: {
    type: 'number',
    group: 'optimiser',
    label: 'Clip at norm',
    default: 1,
    min: 0,
    max: 1000,
    help: 'Global gradient norm above which the gradient is scaled down; 0 never clips.',
  },
  gradient_accumulation: {
    type: 'integer',
    group: 'optimiser',
    label: 'Accumulate',
    default: 1,
    min: 1,
    max: 64,
    help: 'Batches whose gradients add up to one step.',
  },
  gradient_checkpointing: {
    type: 'choice',
    group: 'optimiser',
    label: 'Recompute',
    default: 'off',
    choices: ['off', 'on'],
    help: 'on computes activations again in the backward pass: a third more work, far less memory for long contexts.',
  },
  batch_size: {
    type: 'integer',
    group: 'data',
    label: 'Batch size',
    default: 8,
    min: 1,
    max: 64,
    help: 'Sequences in a batch.',
  },
  max_length: {
    type: 'integer',
    group: 'data',
    label: 'Context',
    default: 64,
    min: 2,
    max: 1024,
    help: 'Tokens of context in a sequence; at most what the teacher was trained on.',
  },
  seed: {
    type: 'integer',
    group: 'data',
    label: 'Seed',
    default: 1,
    min: 0,
    max: 2 ** 31 - 1,
    help: 'Initialisation and the order of the data. The same seed and adapter give the same bits.',
  },
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
    help: 'Held-out batches of an evaluation.',
  },
  eval_loss_path: {
    type: 'choice',
    group: 'evaluation',
    label: 'Loss path',
    default: 'strided',
    choices: ['strided', 'reshape', 'view'],
    help: 'How sliced logits meet the loss: read where they lie, copied first, or refused as PyTorch’s view refuses.',
  },
  prompt: {
    type: 'text',
    group: 'evaluation',
    label: 'Prompt',
    default: 'The whale',
    maxLength: 200,
    help: 'What both models continue at each evaluation.',
  },
  sample_tokens: {
    type: 'integer',
    group: 'evaluation',
    label: 'Sample length',
    default: 32,
    min: 0,
    max: 256,
    help: 'Tokens that each model writes after the prompt; 0 writes none.',
  },
  model_dtype: {
    type: 'choice',
    group: 'numerics',
    label: 'Precision',
    default: 'auto',
    choices: ['auto', 'float16', 'float32'],
    help: 'Storage and matrix products; auto is float16 where the adapter has shader-f16.',
  },
  initial_loss_scale: {
    type: 'number',
    group: 'numerics',
    label: 'First loss scale',
    default: 65536,
    min: 1,
    max: 2 ** 24,
    scale: 'log',
    help: 'What the loss is multiplied by in float16 so that small gradients survive; it adapts.',
  },
} as const satisfies Record<string, Field>;

export type FieldName = keyof typeof FIELDS;
type Value<F> = F extends { type: 'choice'; choices: readonly (infer C)[] }
  ? C
  : F extends { type: 'text' }
    ? string
    : number;
export type Config = { -readonly [K in FieldName]: Value<(typeof FIELDS)[K]> };

/** The fields whose row says `live`: they may change while a run is going on. */
type LiveField = {
  [K in FieldName]: (typeof FIELDS)[K] extends { live: true } ? K : never;
}[FieldName];
export type LiveChanges = Partial<Pick<Config, LiveField>>;

export const isLive = (name: FieldName): name is LiveField => 'live' in FIELDS[name];

export const DEFAULTS = Object.fromEntries(
  Object.entries(FIELDS).map(([name, field]) => [name, field.default]),
) as Config;

/**
 * Whether a name, e.g. from a link, is one of the table's own. False for names that every object
 * inherits.
 */
export function isFieldName(name: string): name is FieldName {
  return Object.hasOwn(FIELDS, name);
}

/** What a field takes, to end a sentence with: "a whole number from 1 to 12". */
export const allowed = (name: FieldName): string => taken(FIELDS[name]);

/**
 * What is wrong with a field's value, with the value and what is allowed; undefined if nothing is.
 */
export const checkField = (name: FieldName, value: unknown): string | undefined =>
  checkValue(name, FIELDS[name], value);

/**
 * Everything that is wrong with a config, a line each; empty if it can run. Beside each field on
 * its own, the fields must fit each other. A warm-up longer than the run is allowed: the run then
 * ends while the learning rate still rises.
 */
export function checkConfig(config: Config): string[] {
  const problems = (Object.keys(FIELDS) as FieldName[]).flatMap(
    (name) => checkField(name, config[name]) ?? [],
  );
  if (problems.length > 0) return problems;
  const {
    student_width: width,
    student_heads: heads,
    student_model: start,
    student_from_layers: layers,
  } = config;
  if (start === 'teacher' && layers === '') {
    problems.push(
      'student_model is teacher and student_from_layers is empty. Name the layers, such as 0,1.',
    );
  }
  if (start !== 'teacher' && layers !== '') {
    problems.push(
      `student_from_layers is ${shown(layers)} and student_model ${shown(start)}. Layers are taken with student_model=teacher.`,
    );
  }
  // A student that starts from a model has that model's sizes.
  if (start === '' && width % (4 * heads) !== 0) {
    const below = width - (width % (4 * heads));
    const { min, max } = FIELDS.student_width;
    const nearest = [below, below + 4 * heads].filter((fits) => fits >= min && fits <= max);
    problems.push(
      `student_width is ${width} and student_heads ${heads}. The width must be a multiple of 4 × heads = ${4 * heads}, ` +
        `such as ${nearest.join(' or ')}.`,
    );
  }
  return problems;
}
