// Runs worth starting with, a row each: for every built-in teacher one of half a minute, one of
// five minutes and one for a night, on two cores without a GPU. The recipes of the first two come
// from the sweep in tests/bench/RESULTS.md, the night's learning rates from short runs there. Pure.

import { BUILT_IN_MODELS, type BuiltInName } from './built-in';
import { type Config, DEFAULTS, type FieldName } from './config';

export const DURATIONS = ['Half a minute', 'Five minutes', 'Overnight'] as const;

/** `npm run record` records these, in files of that ending. */
const RECORDED: Partial<Record<(typeof DURATIONS)[number], string>> = {
  'Half a minute': '',
  'Five minutes': '-five-minutes',
};

export interface Preset {
  duration: (typeof DURATIONS)[number];
  teacher: BuiltInName;
  /** One sentence: what the student is and what to look for. */
  about: string;
  config: Config;
  /** Whether runs of this length were compared. */
  searched: boolean;
  /** A recorded run with these settings, under the page's address. */
  recording?: string;
}

/**
 * A line to sort has 14 tokens. A context that shares no factor with that has windows which begin
 * at any token of a line; with 64, all of a pass would begin at even ones, or all at odd ones.
 */
const LINES_ANYWHERE = { max_length: 61 } as const satisfies Partial<Config>;

/** The first is what the page opens with. */
export const PRESETS: readonly Preset[] = [
  preset('Half a minute', 'austen-teacher', {
    about: 'Two of the teacher’s four layers learn to write without the other two.',
    settings: {
      student_model: 'teacher',
      student_from_layers: '0,3',
      train_steps: 60,
      student_lr: 1e-3,
      warmup_steps: 5,
      alpha: 0.9,
      eval_steps: 10,
    },
  }),
  preset('Five minutes', 'austen-teacher', {
    about: 'A new student, a third of the teacher’s size, learns English from nothing.',
    settings: {
      student_layers: 2,
      student_width: 128,
      student_heads: 4,
      train_steps: 1000,
      student_lr: 4e-3,
      warmup_steps: 100,
      alpha: 1,
      temperature: 1,
      eval_steps: 50,
    },
  }),
  preset('Overnight', 'austen-teacher', {
    about: 'A new student, half the teacher’s size, reads the novels many times.',
    settings: {
      student_layers: 4,
      student_width: 128,
      student_heads: 4,
      batch_size: 16,
      max_length: 128,
      train_steps: 20_000,
      student_lr: 3e-3,
      warmup_steps: 500,
      alpha: 1,
      temperature: 1,
      eval_steps: 500,
      eval_batches: 16,
    },
  }),
  preset('Half a minute', 'moby-teacher', {
    about: 'Two of the teacher’s four layers learn to write without the other two.',
    settings: {
      student_model: 'teacher',
      student_from_layers: '0,3',
      train_steps: 80,
      student_lr: 1e-3,
      warmup_steps: 8,
      alpha: 0.9,
      eval_steps: 10,
    },
  }),
  preset('Five minutes', 'moby-teacher', {
    about: 'A new student, a third of the teacher’s size, learns English from nothing.',
    settings: {
      student_layers: 3,
      student_width: 96,
      student_heads: 3,
      train_steps: 1400,
      student_lr: 4e-3,
      warmup_steps: 100,
      alpha: 1,
      temperature: 1,
      eval_steps: 50,
    },
  }),
  preset('Overnight', 'moby-teacher', {
    about: 'A new student, a third of the teacher’s size, reads the book many times.',
    settings: {
      student_layers: 3,
      student_width: 96,
      student_heads: 3,
      batch_size: 16,
      max_length: 128,
      train_steps: 20_000,
      student_lr: 3e-3,
      warmup_steps: 500,
      alpha: 1,
      temperature: 1,
      eval_steps: 500,
      eval_batches: 16,
    },
  }),
  preset('Half a minute', 'sorting-teacher', {
    about: 'A new student learns to sort. Set α to 0 to see how far it gets without the teacher.',
    settings: {
      ...LINES_ANYWHERE,
      student_layers: 2,
      student_width: 96,
      student_heads: 3,
      train_steps: 480,
      student_lr: 6e-3,
      warmup_steps: 48,
      alpha: 1,
      temperature: 1,
      eval_steps: 40,
      sample_tokens: 7,
    },
  }),
  preset('Five minutes', 'sorting-teacher', {
    about: 'A student of a third of the teacher’s size learns to sort.',
    settings: {
      ...LINES_ANYWHERE,
      student_layers: 2,
      student_width: 64,
      student_heads: 2,
      train_steps: 1500,
      student_lr: 6e-3,
      warmup_steps: 100,
      alpha: 1,
      temperature: 1,
      eval_steps: 100,
      sample_tokens: 7,
    },
  }),
  preset('Overnight', 'sorting-teacher', {
    about: 'How small can a student be and still sort? This one has a tenth of the weights.',
    settings: {
      ...LINES_ANYWHERE,
      student_layers: 2,
      student_width: 32,
      student_heads: 2,
      train_steps: 20_000,
      student_lr: 4e-3,
      warmup_steps: 500,
      alpha: 1,
      temperature: 1,
      eval_steps: 500,
      sample_tokens: 7,
    },
  }),
];

/** The preset with exactly these settings, which need not go together. */
export const presetOf = (config: Config): Preset | undefined =>
  PRESETS.find((preset) =>
    (Object.keys(preset.config) as FieldName[]).every(
      (name) => config[name] === preset.config[name],
    ),
  );

function preset(
  duration: Preset['duration'],
  teacher: BuiltInName,
  { about, settings }: { about: string; settings: Partial<Config> },
): Preset {
  const { prompt } = BUILT_IN_MODELS[teacher];
  const ending = RECORDED[duration];
  return {
    duration,
    teacher,
    about,
    searched: duration !== 'Overnight',
    config: { ...DEFAULTS, teacher_model: teacher, prompt, ...settings },
    ...(ending !== undefined && { recording: `recorded/${teacher}${ending}.json` }),
  };
}
