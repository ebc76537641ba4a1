// Made-up figures and passages for the designed states of the drawer on what was learned.

import type {
  CalibrationGroup,
  EvaluationRecord,
  Expectation,
  Failure,
  KlGroup,
  Passage,
} from '../../worker/protocol';
import type { Place, useExpected, usePassages } from '../learned/store';

/** The states of its two requests. */
export interface Learning {
  passages: Pick<ReturnType<typeof usePassages.getState>, 'input' | 'request'>;
  expected?: Pick<ReturnType<typeof useExpected.getState>, 'input' | 'request'>;
}

/** What an evaluation with this KL says of its kinds of tokens. */
export function groupsOf(
  kl: number,
): Pick<EvaluationRecord, 'klByPosition' | 'klByFrequency' | 'calibration'> {
  const group =
    (tokens: number, ratio: number) =>
    (from: number, to: number): KlGroup => [from, to, tokens, kl * ratio];
  return {
    klByPosition: [
      group(64, 0.62)(1, 1),
      group(128, 0.71)(2, 3),
      group(256, 0.86)(4, 7),
      group(512, 0.97)(8, 15),
      group(1024, 1.04)(16, 31),
      group(2048, 1.06)(32, 63),
    ],
    klByFrequency: [
      group(12, 2.1)(1, 9),
      group(310, 1.7)(10, 99),
      group(1450, 1.2)(100, 999),
      group(2260, 0.75)(1000, 9999),
    ],
    calibration: [
      [0, 0.1, 1210, 0.07, 0.06],
      [0.1, 0.2, 1340, 0.14, 0.13],
      [0.2, 0.3, 620, 0.24, 0.21],
      [0.3, 0.5, 410, 0.38, 0.36],
      [0.5, 0.9, 290, 0.66, 0.7],
      [0.9, 1, 162, 0.96, 0.99],
    ] satisfies CalibrationGroup[],
  };
}

function passage(before: string, texts: string[], kl: number[]): Passage {
  const mean = kl.reduce((a, b) => a + b) / kl.length;
  const ids = Array.from({ length: texts.length + 1 }, (_, id) => id);
  return { ids, from: 1, before, texts, kl, mean };
}

const WORST = passage(
  'through the wide trance of the sea, where each silent sailor seemed resolved into his own ',
  ['inv', 'is', 'ible', ' self', '.', '\n\n', 'Now', ',', ' st', 'ub', 'b', '-', 't', 'ailed'],
  [3.1, 2.2, 4.8, 2.9, 0.4, 0.2, 1.6, 0.3, 2.4, 0.9, 0.3, 2.2, 1.9, 3.3],
);
const BEST = passage(
  'and the great shroud of the sea ',
  ['ro', 'll', 'ed', ' on', ' as', ' it', ' ro', 'll', 'ed', ' five', ' thousand', ' years'],
  [0.3, 0.01, 0.02, 0.1, 0.2, 0.1, 0.3, 0.01, 0.01, 0.5, 0.2, 0.1],
);
const CHOICES: Expectation['choices'] = [
  { text: 'ible', student: 0.02, teacher: 0.93 },
  { text: ' the', student: 0.31, teacher: 0.004 },
  { text: ',', student: 0.12, teacher: 0.01 },
  { text: ' a', student: 0.07, teacher: 0.002 },
  { text: ' to', student: 0.04, teacher: 0.003 },
];

/** `step`: the last one of the run. */
export const learningNotices = (runId: string, step: number) =>
  ({
    looking: {
      title: 'passages are looked for',
      scenes: ['running'],
      messages: [],
      learning: { passages: { input: runId, request: { status: 'running' } } } as Learning,
    },
    learned: {
      title: 'what was learned',
      scenes: ['paused', 'finished'],
      messages: [],
      learning: found(runId, step),
    },
    routed: {
      title: 'which expert each token goes to',
      scenes: ['experts'],
      messages: [],
      learning: found(runId, step, routed),
    },
    unlearned: {
      title: 'no passages were found',
      scenes: ['paused', 'lost'],
      messages: [],
      learning: {
        passages: { input: runId, request: { status: 'failed', failure: FAILURE } },
      } as Learning,
    },
  }) as const;

const FAILURE: Failure = {
  operation: 'find the worst and the best passages',
  message: 'The student’s or the teacher’s predictions are not finite.',
  kind: 'internal',
};

/** The same passage of a student with four experts in both of its layers. */
const routed = (passage: Passage): Passage => ({
  ...passage,
  experts: [0, 1].map((layer) => ({
    layer,
    experts: 4,
    chosen: passage.texts.map(({ length }) => (length * (7 - 2 * layer)) % 4),
  })),
});

function found(runId: string, step: number, of = (passage: Passage) => passage): Learning {
  const [worst, best] = [of(WORST), of(BEST)];
  const input: Place = { runId, passage: worst, index: 2 };
  return {
    passages: {
      input: runId,
      request: { status: 'done', value: { step, worst: [worst], best: [best] } },
    },
    expected: {
      input,
      request: { status: 'done', value: { choices: CHOICES, said: 0, kl: 4.8 } },
    },
  };
}
