// What happened in a run and why the student improved, for somebody who has never trained a model.
// Pure.

import { textOf } from '../../built-in';
import type { EvaluationRecord } from '../../worker/protocol';
import { formatShare, plural } from '../shared/format';
import { answersRight } from './evaluation';
import type { ShownRun } from './shown-run';

interface Part {
  /** The first words, which say when or why. */
  lead: string;
  text: string;
}

/** What can be told so far: how it begins, and once a second evaluation is there, how it went. */
export function storyOf(run: ShownRun): Part[] {
  const { evaluations } = run.history;
  const [first, last] = [evaluations[0], evaluations.at(-1)];
  const parts = [
    { lead: 'At first', text: beginning(run, first) },
    { lead: 'In each step', text: oneStep(run) },
  ];
  if (!first?.studentPerplexity || !last?.studentPerplexity || first === last) return parts;
  const improved = last.studentPerplexity < first.studentPerplexity;
  return [
    ...parts,
    ...(improved ? [why(run)] : []),
    { lead: `After ${plural(last.step, 'step')}`, text: ending(first, last, improved) },
  ];
}

function beginning({ config }: ShownRun, first?: EvaluationRecord) {
  const { student_model, student_from_layers } = config;
  const copied = student_from_layers.split(',').length;
  const student =
    student_model === ''
      ? 'the student’s weights are random numbers.'
      : student_model === 'teacher'
        ? `the student is ${plural(copied, 'layer')} of its teacher, which never worked without ` +
          'the others.'
        : 'the student is a model that was trained elsewhere.';
  if (!first?.studentPerplexity) return student;
  const { studentPerplexity, teacherPerplexity } = first;
  return (
    `${student} It is as unsure of the next token as if it had to choose among ` +
    `${among(studentPerplexity)} equally likely ones` +
    `${teacherPerplexity ? `; its teacher, among ${among(teacherPerplexity)}` : ''}.`
  );
}

function oneStep(run: ShownRun) {
  const { config, report, corpus, marks } = run;
  const text = corpus?.files.map(({ name }) => name).join(', ') ?? textOf(config).label;
  const read =
    `it reads ${report ? plural(report.tokensPerStep, 'token') : 'a batch'} of ${text}, guesses ` +
    'what follows each, and its weights are moved a little towards';
  if (!taught(run)) return `${read} what does follow. No teacher is asked.`;
  const { alpha } = config;
  if (config.loss !== 'mixed' || alpha === 1) return `${read} the teacher’s guesses.`;
  // A run whose settings changed on the way has no single share.
  const share = (part: number) => (marks.length > 0 ? '' : ` (${formatShare(part)})`);
  return `${read} the teacher’s guesses${share(alpha)} and the text${share(1 - alpha)}.`;
}

const why = (run: ShownRun): Part =>
  taught(run)
    ? {
        lead: 'Why it learns so much from so little',
        text: 'where the text shows one next token, the teacher shows all that fit, and how well.',
      }
    : {
        lead: 'Why it needs many steps',
        text: 'the text shows one next token, and not what else would fit. A teacher shows that.',
      };

function ending(first: EvaluationRecord, last: EvaluationRecord, improved: boolean) {
  if (!improved) return 'it is no better than before.';
  const agree =
    first.agreement !== undefined && last.agreement !== undefined
      ? ` Its first guess is the teacher’s in ${formatShare(last.agreement)} of all places; ` +
        `before training, in ${formatShare(first.agreement)}.`
      : '';
  const right = answersRight(last);
  return (
    `it is as unsure as if it had to choose among ${among(last.studentPerplexity)}, on text that ` +
    'it never trained on.' +
    agree +
    `${right ? ` It gets ${right}.` : ''}`
  );
}

/** True unless the text alone teaches. */
const taught = ({ config: { loss, alpha } }: ShownRun) =>
  loss !== 'ce' && !(loss === 'mixed' && alpha === 0);

/** A perplexity as a number of tokens to choose from: 3.1, 41, 2,400. */
const among = (perplexity: number | undefined) =>
  perplexity?.toLocaleString('en', { maximumSignificantDigits: 2 });
