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

const COLUMNS = [
  'step',
  'studentPerplexity',
  'teacherPerplexity',
  'kl',
  'klWords',
  'agreement',
  'tokens',
  'tried',
  'succeeded',
  'failed',
  'path',
  'bytesCopied',
  'milliseconds',
] as const;

export function evaluationsCsv(evaluations: readonly EvaluationRecord[]): string {
  const value = (record: EvaluationRecord, name: (typeof COLUMNS)[number]) =>
    record[name] ?? (name === 'klWords' && record.kl !== undefined ? 'all' : 'n/a');
  const lines = evaluations.map((record) => COLUMNS.map((name) => value(record, name)).join(','));
  return `${[COLUMNS.join(','), ...lines].join('\n')}\n`;
}
