// Evaluations as text: perplexity with its number of valid tokens, and all of them as
// comma-separated values.

import type { EvaluationRecord } from '../../worker/protocol';
import { formatMeasure } from '../shared/format';

/** Without a valid token there is no perplexity. */
export function perplexity(record: EvaluationRecord): string {
  return record.studentPerplexity === undefined
    ? `n/a (${record.tokens} valid tokens)`
    : formatMeasure(record.studentPerplexity);
}

/** The student's, "31 of 64 answers right"; undefined unless the held-out text has answers. */
export function answersRight({ answers }: EvaluationRecord): string | undefined {
  if (!answers || answers.tried === 0) return undefined;
  return `${answers.studentRight} of ${answers.tried} answers right`;
}

const COLUMNS = [
  'step',
  'studentPerplexity',
  'teacherPerplexity',
  'kl',
  'klWords',
  'agreement',
  'answersTried',
  'answersRight',
  'tokens',
  'tried',
  'succeeded',
  'failed',
  'path',
  'bytesCopied',
  'milliseconds',
] as const;

export function evaluationsCsv(evaluations: readonly EvaluationRecord[]): string {
  const value = (evaluation: EvaluationRecord, name: (typeof COLUMNS)[number]) => {
    const { answers } = evaluation;
    const record = {
      ...evaluation,
      answersTried: answers?.tried,
      answersRight: answers?.studentRight,
    };
    return record[name] ?? (name === 'klWords' && record.kl !== undefined ? 'all' : 'n/a');
  };
  const lines = evaluations.map((record) => COLUMNS.map((name) => value(record, name)).join(','));
  return `${[COLUMNS.join(','), ...lines].join('\n')}\n`;
}
