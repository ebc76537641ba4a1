// Made-up answers for the designed states of the box in which people try the result.

import { SAY_DEFAULTS } from '../../say-settings';
import type { Failure, SaidToken } from '../../worker/protocol';
import type { useAnswers } from '../say/store';

/** The state of the request for the answers, and what was asked. */
export type Saying = Pick<ReturnType<typeof useAnswers.getState>, 'input' | 'request'>;

type Author = SaidToken['author'];

/** What each says, and how likely its token was to the student and to the teacher. */
const SAID: Record<Author, [text: string, student: number, teacher: number][]> = {
  student: [
    [' was', 0.21, 0.34],
    [' the', 0.12, 0.04],
    [' sea', 0.05, 0.002],
    [',', 0.31, 0.42],
    [' and', 0.28, 0.3],
    [' the', 0.19, 0.22],
    [' sh', 0.06, 0.11],
    ['ip', 0.74, 0.98],
  ],
  teacher: [
    [' was', 0.21, 0.34],
    [' seen', 0.003, 0.08],
    [' to', 0.09, 0.19],
    [' wind', 0.0004, 0.12],
    ['ward', 0.02, 0.91],
    [',', 0.22, 0.48],
    ['\n', 0.11, 0.09],
    ['and', 0.18, 0.33],
  ],
};
const OTHERS: [text: string, student: number, teacher: number][] = [
  [' is', 0.14, 0.16],
  [' had', 0.07, 0.09],
  ['\n', 0.06, 0.02],
  [' in', 0.05, 0.0003],
];

function said(author: Author, alone: boolean): SaidToken[] {
  return SAID[author].map(([text, student, teacher]) => {
    const all = [[text, student, teacher] as const, ...OTHERS];
    const choices = all
      .map(([text, student, teacher]) => (alone ? { text, student } : { text, student, teacher }))
      .sort((a, b) => b.student - a.student);
    const place = choices.findIndex((choice) => choice.text === text);
    const kl = Math.abs(Math.log(teacher / student)) / 2;
    return { author, text, choices, said: place, ...(!alone && { kl }) };
  });
}

const asked = (runId: string, prompt: string): Saying['input'] => ({
  runId,
  prompt,
  settings: SAY_DEFAULTS,
});

export const answering = (runId: string, prompt: string): Saying => ({
  input: asked(runId, prompt),
  request: {
    status: 'running',
    progress: [...said('student', false), ...said('teacher', false).slice(0, 3)],
  },
});

/** `alone`: the teacher is cached. */
export const answered = (runId: string, prompt: string, step: number, alone = false): Saying => ({
  input: asked(runId, prompt),
  request: {
    status: 'done',
    progress: [...said('student', alone), ...(alone ? [] : said('teacher', false))],
    value: { step, stopped: false },
  },
});

export const silenced = (runId: string, prompt: string, failure: Failure): Saying => ({
  input: asked(runId, prompt),
  request: { status: 'failed', failure },
});
