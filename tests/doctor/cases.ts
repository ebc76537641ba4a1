// The runs that the Doctor is held against: sick ones, each with the rule that must speak first,
// and healthy ones, on which none may speak. All are real runs of built-in teachers.

import type { BuiltInName } from '../../src/built-in';
import type { Config } from '../../src/config';
import type { RuleName } from '../../src/doctor/rules';
import { PRESETS } from '../../src/presets';
import type { TEXTS } from './texts';

/** What no setting does to a run. */
export type Fault =
  /** The student's weights: 0 all over but for NaN, trained ones with other ids, … */
  | 'nan-weights'
  | 'large-gains'
  | 'permuted-student'
  | 'copied-teacher'
  /** The teacher's weights are random, or its ids permuted. */
  | 'random-teacher'
  | 'permuted-teacher'
  | 'detached-loss'
  | 'masked-targets'
  | 'leak';

export interface Case {
  name: string;
  settings: Partial<Config>;
  /** Absent for a healthy run. */
  expects?: RuleName;
  fault?: Fault;
  /** With its text. Moby-Dick's by default. */
  teacher?: BuiltInName;
  /** The teacher's own by default. */
  text?: keyof typeof TEXTS | 'short-documents';
  /** A run that no rule and no threshold was made from. */
  unseen?: true;
}

const F16 = { model_dtype: 'auto' } as const;
const QUICK = {
  train_steps: 60,
  eval_steps: 10,
  warmup_steps: 5,
  sample_tokens: 0,
  ...F16,
} as const;

/** What the page offers for half a minute: lines of 14 tokens, in windows of 64. */
const SORTING = PRESETS.find(({ teacher }) => teacher === 'sorting-teacher')?.config;

const sick = (
  expects: RuleName,
  name: string,
  settings: Partial<Config>,
  more: Omit<Case, 'name' | 'settings' | 'expects'> = {},
): Case => ({ name, expects, settings: { ...QUICK, ...settings }, ...more });

export const SICK: readonly Case[] = [
  sick('evaluation-fails', 'evaluation by view', { eval_loss_path: 'view' }),
  sick('training-path-fails', 'training by view', { train_loss_path: 'view' }),
  sick('no-measurement', 'NaN in the student', {}, { fault: 'nan-weights' }),
  sick(
    'skipped-steps',
    'a loss scale of 2^24 in ten steps',
    { initial_loss_scale: 2 ** 24, train_steps: 10, warmup_steps: 1 },
    { fault: 'large-gains' },
  ),
  sick('disconnected-loss', 'a detached loss', {}, { fault: 'detached-loss' }),
  sick('learning-rate-low', 'learning rate 5e-6', { student_lr: 5e-6 }),
  sick('learning-rate-low', 'learning rate 1e-7', { student_lr: 1e-7, loss: 'ce' }),
  sick('learning-rate-high', 'learning rate 0.1', { student_lr: 0.1 }),
  sick('learning-rate-high', 'learning rate 0.1, no clipping, deep', {
    student_lr: 0.1,
    max_grad_norm: 0,
    student_layers: 4,
    lr_schedule: 'constant',
  }),
  sick(
    'gradient-spikes',
    'pages of noise, a window a step',
    { max_grad_norm: 0, loss: 'ce', train_steps: 250, batch_size: 1, eval_steps: 50 },
    { text: 'interrupted' },
  ),
  sick('always-clipped', 'clipping at 0.01', { max_grad_norm: 0.01 }),
  sick('teacher-ignored', 'alpha 0.02 at T 1', { alpha: 0.02, temperature: 1 }),
  sick('temperature-flat', 'temperature 16', { temperature: 16 }),
  sick(
    'starts-as-teacher',
    'a copy of the teacher',
    { student_model: 'teacher', student_from_layers: '0,1,2,3', student_lr: 3e-4 },
    { fault: 'copied-teacher' },
  ),
  sick('teacher-unfit', 'a teacher that did not load', {}, { fault: 'random-teacher' }),
  sick(
    'start-unfit',
    'a student with other ids',
    { student_model: 'files', student_lr: 1e-3 },
    {
      fault: 'permuted-student',
    },
  ),
  sick('few-targets', 'three of four targets ignored', {}, { fault: 'masked-targets' }),
  sick('one-token-dominates', 'a padded text', {}, { text: 'padded' }),
  sick('tokenizer-unfit', 'Cyrillic', {}, { text: 'cyrillic' }),
  sick('short-documents', 'a clause a document', { max_length: 128 }, { text: 'short-documents' }),
  sick('batch-repeats', 'one page', { max_length: 32, batch_size: 16 }, { text: 'onePage' }),
  sick(
    'many-epochs',
    'eighteen thousand letters',
    { train_steps: 250, student_lr: 1e-3 },
    {
      text: 'fewPages',
    },
  ),
  sick(
    'overfitting',
    'eighteen thousand letters by heart',
    {
      train_steps: 400,
      student_width: 128,
      loss: 'ce',
      eval_steps: 40,
      weight_decay: 0,
      lr_schedule: 'constant',
    },
    { text: 'fewPages' },
  ),
  sick(
    'held-out-differs',
    'lines to sort, of which windows and held-out windows see other halves',
    { ...SORTING, seed: 3, ...F16 },
    { teacher: 'sorting-teacher' },
  ),
  sick('overconfident', 'reverse KL at T 0.25', {
    loss: 'rkl',
    temperature: 0.25,
    train_steps: 200,
  }),
  sick('repeats', 'one sentence for all', {
    loss: 'rkl',
    temperature: 0.25,
    train_steps: 200,
    sample_tokens: 64,
  }),
  sick('experts-collapse', 'four experts, one a token', {
    student_experts: 4,
    experts_per_token: 1,
    student_lr: 0.01,
  }),
  sick('capacity', 'a width of 16', {
    student_width: 16,
    student_layers: 1,
    lr_schedule: 'constant',
    train_steps: 800,
    eval_steps: 40,
    student_lr: 0.01,
  }),
  sick('unusual-learning-rate', 'learning rate 4e-4, 20 steps', {
    student_lr: 4e-4,
    train_steps: 20,
    warmup_steps: 2,
  }),
  sick('warm-up-too-long', 'a warm-up of 45 in 60', { warmup_steps: 45 }),
  sick('unusual-temperature', 'temperature 0.3', { temperature: 0.3 }),
  sick('large-memory', 'a student of 87 million', {
    student_layers: 12,
    student_width: 768,
    student_heads: 12,
    student_lr: 6e-4,
    batch_size: 16,
    train_steps: 20,
    warmup_steps: 2,
  }),
  sick(
    'loss-scale-collapses',
    'a loss scale of 2^24',
    { initial_loss_scale: 2 ** 24 },
    {
      fault: 'large-gains',
    },
  ),
  sick('memory-grows', 'a leak', {}, { fault: 'leak' }),
  sick(
    'teacher-unfit',
    'a teacher with other ids',
    { loss: 'fkl' },
    {
      fault: 'permuted-teacher',
      unseen: true,
    },
  ),
  sick('tokenizer-unfit', 'hexadecimal digits', { seed: 4 }, { text: 'hex', unseen: true }),
  sick(
    'learning-rate-high',
    'learning rate 0.05 for a student of 4 layers',
    { student_lr: 0.05, student_layers: 4, student_width: 128, lr_schedule: 'constant' },
    { unseen: true },
  ),
];

const HEALTHY_SETTINGS: Record<string, Partial<Config>> = {
  'the default': {},
  'the default in 60 steps': { train_steps: 60, warmup_steps: 5, eval_steps: 10 },
  '4 layers, 128 wide, forward KL': {
    loss: 'fkl',
    student_layers: 4,
    student_width: 128,
    student_heads: 4,
    student_lr: 0.003,
    train_steps: 150,
  },
  'cross-entropy alone': { loss: 'ce', train_steps: 150 },
  'a window of 32 tokens a step': { batch_size: 1, max_length: 32, train_steps: 500 },
  'Jensen–Shannon at T 1, constant rate': {
    kd_loss: 'jsd',
    temperature: 1,
    lr_schedule: 'constant',
    student_lr: 0.002,
    train_steps: 150,
    gradient_accumulation: 2,
    batch_size: 4,
  },
};
const PRECISIONS = ['auto', 'float32'] as const;

/** With other seeds some experts of this student stay idle, and its Doctor says so. */
const SHARING: Case = {
  name: 'four experts, balanced, seed 1, float16',
  settings: {
    student_experts: 4,
    router_balance: 0.5,
    train_steps: 60,
    warmup_steps: 5,
    eval_steps: 10,
    sample_tokens: 24,
    seed: 1,
    ...F16,
  },
};

const seeded = (
  name: string,
  settings: Partial<Config> | undefined,
  seeds = [1, 2, 3],
  teacher?: BuiltInName,
): Case[] =>
  seeds.flatMap((seed) =>
    PRECISIONS.map((model_dtype) => ({
      name: `${name}, seed ${seed}, ${model_dtype === 'auto' ? 'float16' : model_dtype}`,
      settings: { sample_tokens: 24, ...settings, seed, model_dtype },
      teacher,
    })),
  );

export const HEALTHY: readonly Case[] = [
  ...Object.entries(HEALTHY_SETTINGS).flatMap(([name, settings]) => seeded(name, settings)),
  // With these seeds the windows of the first pass begin in a line where the held-out ones do.
  ...seeded('sorting letters', SORTING, [1, 2, 6], 'sorting-teacher'),
  SHARING,
];
