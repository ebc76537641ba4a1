// What comes with the page: texts, and the models that were trained on them. A row each. Pure.

export interface BuiltInText {
  label: string;
  /** Under the page's address. */
  file: string;
  /**
   * For a text whose lines each end with the one right answer: what stands before it. Evaluations
   * then count the answers that are right in every token.
   */
  answersAfter?: string;
}

export const TEXTS = {
  austen: { label: 'Jane Austen’s six novels', file: 'corpus/austen.txt' },
  'moby-dick': { label: 'Moby-Dick', file: 'corpus/moby-dick.txt' },
  sorting: { label: 'Letters to sort', file: 'corpus/sorting.txt', answersAfter: '=' },
} as const satisfies Record<string, BuiltInText>;

export type TextName = keyof typeof TEXTS;

export interface BuiltInModel {
  label: string;
  /** One sentence: what it is and what it can do. */
  about: string;
  /** The text that it was trained on. */
  text: TextName;
  /** A prompt that shows what it learned. */
  prompt: string;
  /** On the last tenth of its text, which it never saw: as its card says. */
  bitsPerCharacter: number;
}

/** Folders under models/ on the page's own origin. */
export const BUILT_IN_MODELS = {
  'austen-teacher': {
    label: 'Jane Austen',
    about: 'A GPT-2 that learned English from Jane Austen’s six novels.',
    text: 'austen',
    prompt: 'She was',
    bitsPerCharacter: 1.37,
  },
  'moby-teacher': {
    label: 'Moby-Dick',
    about: 'A GPT-2 that learned English from Herman Melville’s Moby-Dick.',
    text: 'moby-dick',
    prompt: 'The whale',
    bitsPerCharacter: 1.92,
  },
  'sorting-teacher': {
    label: 'Sorting letters',
    about: 'A GPT-2 that sorts six letters: each answer is either right or wrong.',
    text: 'sorting',
    prompt: 'gbhaec=',
    bitsPerCharacter: 1.52,
  },
} as const satisfies Record<string, BuiltInModel>;

export type BuiltInName = keyof typeof BUILT_IN_MODELS;

export const isBuiltIn = (name: string): name is BuiltInName =>
  Object.hasOwn(BUILT_IN_MODELS, name);

/**
 * The built-in text of a run without files of its own: the one chosen, or its teacher's. A teacher
 * that is not built in gets Moby-Dick, which older links mean.
 */
export function textOf(config: { teacher_model: string; corpus: 'auto' | TextName }): BuiltInText {
  const { teacher_model: teacher, corpus } = config;
  if (corpus !== 'auto') return TEXTS[corpus];
  return TEXTS[isBuiltIn(teacher) ? BUILT_IN_MODELS[teacher].text : 'moby-dick'];
}
