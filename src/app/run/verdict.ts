// Whether a finished run's student is good, in words, and the numbers that say so. Pure.

import type { EvaluationRecord } from '../../worker/protocol';
import { formatMeasure } from '../shared/format';
import { answersRight, perplexity } from './evaluation';
import type { ShownRun } from './shown-run';

/** By the student's perplexity as a multiple of the teacher's. */
const GRADES = [
  { below: 1.25, title: 'Very good', means: 'It predicts almost as well as its teacher.' },
  { below: 2, title: 'Good', means: 'It is close to its teacher.' },
  { below: 4, title: 'Fair', means: 'More steps would bring it closer: below 2 times is good.' },
  {
    below: Number.POSITIVE_INFINITY,
    title: 'Weak',
    means: 'It needs more steps, or a larger student: below 2 times is good.',
  },
] as const;

/** By the student's right answers as a share of the teacher's, where the text has answers. */
const ANSWER_GRADES = [
  { from: 0.95, title: 'Very good' },
  { from: 0.8, title: 'Good' },
  { from: 0.4, title: 'Fair' },
  { from: 0, title: 'Weak' },
] as const;

export interface Verdict {
  /** "Good", or that the run is merely finished where nothing can be compared. */
  title: string;
  sentences: string[];
}

export function verdictOf(
  { history: { evaluations }, report }: ShownRun,
  first: EvaluationRecord | undefined = evaluations[0],
  last: EvaluationRecord | undefined = evaluations.at(-1),
): Verdict | undefined {
  if (!first || !last) return undefined;
  const [before, after, teacher] = [
    first.studentPerplexity,
    last.studentPerplexity,
    last.teacherPerplexity,
  ];
  const change = `The student’s perplexity went from ${perplexity(first)} to ${perplexity(last)}`;
  if (!after || !before) return { title: 'Finished', sentences: [`${change}.`] };
  if (after >= before) {
    return {
      title: 'Not better than before',
      sentences: [`${change}, so it learned nothing. Try a lower learning rate.`],
    };
  }
  if (!teacher) {
    const apart =
      'The teacher has another vocabulary, so its perplexity is in other tokens and says nothing ' +
      'beside this one.';
    const sentences = [`${change}.`, ...(report?.otherVocabulary ? [apart] : [])];
    return { title: 'Finished', sentences };
  }
  const ratio = after / teacher;
  const { title, means } = answersGrade(last) ?? perplexityGrade(ratio);
  const compared =
    ratio < 1
      ? `The teacher’s is ${formatMeasure(teacher)}: the student’s is lower.`
      : `The teacher’s is ${formatMeasure(teacher)}: the student’s is ${times(ratio)} that.`;
  const smaller = report?.teacherParameters && report.teacherParameters / report.studentParameters;
  return {
    title,
    sentences: [
      means,
      `${change}.`,
      compared,
      ...(smaller && smaller > 1 ? [`It has ${times(smaller)} fewer parameters.`] : []),
    ],
  };
}

function perplexityGrade(ratio: number) {
  const grade = GRADES.find(({ below }) => ratio < below) ?? GRADES[3];
  return ratio < 1 ? { ...grade, means: 'It predicts this text better than its teacher.' } : grade;
}

function answersGrade(evaluation: EvaluationRecord) {
  const { answers } = evaluation;
  if (!answers?.teacherRight) return undefined;
  const share = answers.studentRight / answers.teacherRight;
  const { title } = ANSWER_GRADES.find(({ from }) => share >= from) ?? ANSWER_GRADES[3];
  const right = answersRight(evaluation);
  return { title, means: `It gets ${right}, its teacher ${answers.teacherRight}.` };
}

/** "2.7 times" */
const times = (ratio: number) => `${ratio.toPrecision(2)} times`;
