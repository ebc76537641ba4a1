// The table of settings: the page's controls, links and the command line all read these rows.
// Names come from the training script that this project grew out of, where it had one.

import { BUILT_IN_MODELS, TEXTS, type TextName } from './built-in';
import { ALIGNED_NAMES, alignedProblem, DIVERGENCE_NAMES, TEACHER_LOSSES } from './divergences';
import { allowedValues, checkValue, type Field, shown } from './field';
import { modelReference } from './model-reference';

export { type Field, shown } from './field';

const MODEL =
  `${Object.keys(BUILT_IN_MODELS).join(', ')}, files, or a Hugging Face model such as ` +
  'openai-community/gpt2 or org/name@revision';

const and = new Intl.ListFormat('en-GB');
const or = new Intl.ListFormat('en-GB', { type: 'disjunction' });
const kdLosses = [...DIVERGENCE_NAMES, ...ALIGNED_NAMES];
const labels = kdLosses.map((name) => TEACHER_LOSSES[name].label);
const takingBeta = kdLosses.filter((name) => TEACHER_LOSSES[name].takesBeta);

export const FIELDS = {
  teacher_model: {
    type: 'text',
    group: 'models',
    label: 'Teacher',
    default: 'moby-teacher',
    maxLength: 200,
    accepts: (text) => modelReference(text) !== undefined,
    expected: MODEL,
    help: 'The model to learn from: built in, from Hugging Face, or your own files.',
  },
  teacher_engine: {
    type: 'choice',
    group: 'models',
    label: 'Teacher runs in',
    default: 'auto',
    choices: ['auto', 'stillhouse', 'onnxruntime'],
    help: 'auto: Stillhouse’s own kernels if they support the model, otherwise onnxruntime.',
  },
  student_model: {
    type: 'text',
    group: 'models',
    label: 'Student starts from',
    default: '',
    maxLength: 200,
    accepts: (text) => text === '' || modelReference(text) !== undefined,
    expected: `empty for a new student, teacher for a copy of its layers, or ${MODEL}`,
    help: 'Empty: a new student. teacher: copies the layers listed below. Or a model to train on.',
  },
  student_from_layers: {
    type: 'text',
    group: 'models',
    label: 'Layers to copy',
    default: '',
    maxLength: 1000,
    accepts: (text) => text === '' || /^\d{1,3}(,\d{1,3})*$/.test(text),
    expected: 'layer numbers separated by commas, such as 0,2,4,7,9,11',
    help: 'The teacher’s layers to copy, counted from 0. DistilGPT2 copied 0,2,4,7,9,11.',
  },
  student_layers: {
    type: 'integer',
    group: 'models',
    label: 'Student layers',
    default: 2,
    min: 1,
    max: 12,
    help: 'Transformer blocks in the student.',
  },
  student_width: {
    type: 'integer',
    group: 'models',
    label: 'Student width',
    default: 64,
    min: 16,
    max: 768,
    help: 'Embedding size: a multiple of 4 × heads.',
  },
  student_heads: {
    type: 'integer',
    group: 'models',
    label: 'Student heads',
    default: 2,
    min: 1,
    max: 12,
    help: 'Attention heads; the width is divided among them.',
  },
  lora_rank: {
    type: 'integer',
    group: 'models',
    label: 'LoRA rank',
    default: 0,
    min: 0,
    max: 256,
    help:
      'Trains small matrices of this rank beside the frozen student; 8 or 16 is usual. ' +
      '0 trains all weights.',
  },
  lora_alpha: {
    type: 'number',
    group: 'models',
    label: 'LoRA alpha',
    default: 16,
    min: 0.1,
    max: 1024,
    scale: 'log',
    help: 'What the adapters add is multiplied by alpha / rank.',
  },
  lora_targets: {
    type: 'text',
    group: 'models',
    label: 'LoRA layers',
    default: 'all-linear',
    maxLength: 300,
    accepts: (text) => /^[\w.-]+(,[\w.-]+)*$/.test(text),
    expected: 'all-linear, or names of linear layers separated by commas, such as q_proj,v_proj',
    help: 'The layers that get adapters: all-linear, or names such as q_proj,v_proj or c_attn.',
  },
  teacher_cache: {
    type: 'choice',
    group: 'models',
    label: 'Cache teacher',
    default: 'off',
    choices: ['off', 'on'],
    help: 'on: save the teacher’s predictions for every batch first, then free its memory.',
  },
  cache_top_k: {
    type: 'integer',
    group: 'models',
    label: 'Cached tokens',
    default: 64,
    min: 0,
    max: 2 ** 20,
    help:
      'Most likely tokens kept at each position; the rest become one tail. ' +
      '0 keeps all, for any loss and temperature.',
  },
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

export type FieldName = keyof typeof FIELDS;
type Value<F> = F extends { type: 'choice'; choices: readonly (infer C)[] }
  ? C
  : F extends { type: 'text' }
    ? string
    : number;
export type Config = { -readonly [K in FieldName]: Value<(typeof FIELDS)[K]> };

/** The fields whose row says `live`: they may change during a run. */
type LiveField = {
  [K in FieldName]: (typeof FIELDS)[K] extends { live: true } ? K : never;
}[FieldName];
export type LiveChanges = Partial<Pick<Config, LiveField>>;

export const isLive = (name: FieldName): name is LiveField => 'live' in FIELDS[name];

export const DEFAULTS = Object.fromEntries(
  Object.entries(FIELDS).map(([name, field]) => [name, field.default]),
) as Config;

/** Whether a row has this name. False for names that every object inherits, such as toString. */
export function isFieldName(name: string): name is FieldName {
  return Object.hasOwn(FIELDS, name);
}

/** What a twin may change: neither its batches, nor its initial weights, nor its evaluation. */
const TWIN_FIELDS = [
  'loss',
  'kd_loss',
  'kd_beta',
  'label_smoothing',
  'z_loss',
  'alpha',
  'temperature',
  'student_lr',
  'lr_schedule',
  'warmup_steps',
  'weight_decay',
  'adam_beta1',
  'adam_beta2',
  'max_grad_norm',
] as const satisfies readonly FieldName[];

/** The twin that learns from the data alone. */
export const WITHOUT_TEACHER = 'loss=ce';

/** The one setting in which the twin differs; undefined without a twin, or with a wrong one. */
export function twinChange({ twin }: Pick<Config, 'twin'>): Partial<Config> | undefined {
  const [, name = '', text = ''] = /^([^=]+)=(.*)$/.exec(twin) ?? [];
  const field = TWIN_FIELDS.find((candidate) => candidate === name);
  if (!field) return undefined;
  const value = FIELDS[field].type === 'choice' || text.trim() === '' ? text : Number(text);
  return checkField(field, value) === undefined ? { [field]: value } : undefined;
}

/** Steps that the twin has taken after so many of the run: a whole number. */
export function twinStep({ twin_pace }: Pick<Config, 'twin_pace'>, step: number): number {
  // 1.15 × 100 is a little less than 115 in binary.
  return Math.floor(step * twin_pace + 1e-9);
}

/** The settings of a run's twin, as a run of its own; undefined if it has none. */
export function twinConfig(config: Config): Config | undefined {
  const change = twinChange(config);
  if (!change) return undefined;
  const train_steps = Math.max(1, twinStep(config, config.train_steps));
  return { ...config, ...change, train_steps, twin: '', twin_pace: DEFAULTS.twin_pace };
}

function twinProblem(config: Config): string | undefined {
  if (config.twin === '') return undefined;
  const twin = twinConfig(config);
  if (!twin) {
    const [name] = config.twin.split('=');
    const field = TWIN_FIELDS.find((candidate) => candidate === name);
    const rule = field
      ? `${field} must be ${allowed(field)}.`
      : `A twin may differ in ${or.format(TWIN_FIELDS)}.`;
    return `twin is ${shown(config.twin)}. ${rule}`;
  }
  if (TWIN_FIELDS.every((name) => twin[name] === config[name])) {
    return (
      `twin is ${shown(config.twin)}, which is the run’s own value. ` +
      'Give another one, or leave it empty.'
    );
  }
  const { teacher_cache, cache_top_k, temperature } = config;
  if (teacher_cache === 'off' || cache_top_k === 0 || twin.temperature === temperature)
    return undefined;
  return (
    `twin is ${shown(config.twin)}, but a cache of ${cache_top_k} tokens serves one temperature, ` +
    `${temperature}. Use cache_top_k=0, which serves every temperature.`
  );
}

/** The allowed values, as the end of a sentence: "a whole number from 1 to 12". */
export const allowed = (name: FieldName): string => allowedValues(FIELDS[name]);

/** An error message with the value and the allowed values; undefined if the value is valid. */
export const checkField = (name: FieldName, value: unknown): string | undefined =>
  checkValue(name, FIELDS[name], value);

/**
 * Everything that is wrong with a config, one line a problem; empty if it can run. First each field
 * by itself, then whether the fields fit together. A warm-up longer than the run is allowed: the
 * run then ends while the learning rate is still rising.
 */
export function checkConfig(config: Config): string[] {
  const problems = (Object.keys(FIELDS) as FieldName[]).flatMap(
    (name) => checkField(name, config[name]) ?? [],
  );
  if (problems.length > 0) return problems;
  const { student_width: width, student_heads: heads } = config;
  const { student_model: start, student_from_layers: layers } = config;
  if (start === 'teacher' && layers === '') {
    problems.push(
      'student_model is teacher, but student_from_layers is empty. List the layers, such as 0,1.',
    );
  }
  if (start !== 'teacher' && layers !== '') {
    problems.push(
      `student_from_layers is ${shown(layers)}, but student_model is ${shown(start)}. ` +
        'Layers are copied only with student_model=teacher.',
    );
  }
  if (start === '' && config.lora_rank > 0) {
    problems.push(
      `lora_rank is ${config.lora_rank}, but student_model is empty: a new student has nothing ` +
        'to keep frozen. Give student_model a model, or use lora_rank=0.',
    );
  }
  const losses = [config, twinConfig(config)].map((one) => one && alignedProblem(one));
  problems.push(...[twinProblem(config), ...new Set(losses)].filter((one) => one !== undefined));
  // Sizes are for a new student; one that starts from a model has that model's sizes.
  const unit = 4 * heads;
  if (start === '' && width % unit !== 0) {
    const below = width - (width % unit);
    const { min, max } = FIELDS.student_width;
    const nearest = [below, below + unit].filter((value) => value >= min && value <= max);
    problems.push(
      `student_width is ${width} and student_heads is ${heads}. ` +
        `The width must be a multiple of 4 × heads = ${unit}, such as ${nearest.join(' or ')}.`,
    );
  }
  return problems;
}
