// What the script of the story would have printed, and what one reads from the same reports without
// its habits. Pure.

import type { EvaluationRecord } from '../../worker/protocol';
import { formatMeasure, plural } from '../shared/format';
import type { ColumnRun } from './store';

/** The script printed no perplexity above this one. */
export const CLAMP = 10_000;

/** min(∞, 10000) = 10000.0, which the script printed where nothing had been measured. */
export function scriptPerplexity(perplexity: number | undefined): string {
  return Math.min(perplexity ?? Number.POSITIVE_INFINITY, CLAMP).toFixed(1);
}

/** As measured: with no valid token there is none. */
export function honestPerplexity(record: EvaluationRecord | undefined): string {
  if (record === undefined) return 'n/a';
  return record.studentPerplexity === undefined
    ? `n/a (${plural(record.tokens, 'valid token')})`
    : formatMeasure(record.studentPerplexity);
}

/**
 * The share of training steps that came back, up to and including `step`. An exception that was
 * swallowed came back too, so this says nothing about what was measured. Undefined before the first
 * step.
 */
export function scriptSuccess(
  column: ColumnRun,
  step = Number.POSITIVE_INFINITY,
): number | undefined {
  const tried = column.attempts.filter((attempt) => attempt.step <= step);
  if (tried.length === 0) return undefined;
  const last = tried[tried.length - 1];
  const stoppedHere =
    column.ended?.error !== undefined &&
    last.error !== undefined &&
    last === column.attempts.at(-1);
  return (tried.length - Number(stoppedHere)) / tried.length;
}

/**
 * A line an evaluation: `Step 8: Loss=6.1234, PPL=10000.0, Success=1.000`. Before the first step
 * there is no loss to print.
 */
export function scriptLog(column: ColumnRun, clamp: boolean): { step: number; text: string }[] {
  return column.evaluations.map(({ record }) => {
    const { step } = record;
    const loss = column.attempts.findLast((attempt) => attempt.step <= step && attempt.record)
      ?.record?.loss;
    const success = scriptSuccess(column, step);
    const perplexity = clamp
      ? scriptPerplexity(record.studentPerplexity)
      : honestPerplexity(record);
    const figures = `Loss=${fixed(loss, 4)}, PPL=${perplexity}, Success=${fixed(success, 3)}`;
    return { step, text: `Step ${step}: ${figures}` };
  });
}

const fixed = (value: number | undefined, digits: number) => value?.toFixed(digits) ?? 'n/a';

/** What a column did in all. */
export interface Totals {
  /** Evaluation batches: tried = succeeded + failed. */
  tried: number;
  succeeded: number;
  failed: number;
  /** Training steps that were tried, and those that raised. */
  steps: number;
  raised: number;
  /** Steps that changed the weights, and those that were skipped. */
  applied: number;
  skipped: number;
  /** Bytes that steps and evaluations copied to get their rows side by side. */
  bytesCopied: number;
  /** The median step, wall time. */
  milliseconds?: number;
  firstLoss?: number;
  lastLoss?: number;
  /** The evaluation before training, and the last one. */
  before?: EvaluationRecord;
  evaluation?: EvaluationRecord;
  weightChange?: number;
  firstError?: string;
  /** An exception that was raised ended the column. */
  stopped: boolean;
}

export function totalsOf({ attempts, evaluations, ended }: ColumnRun): Totals {
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  const of = (name: 'tried' | 'succeeded' | 'failed' | 'bytesCopied') =>
    sum(evaluations.map(({ record }) => record[name]));
  const records = attempts.flatMap(({ record }) => record ?? []);
  const times = attempts.map(({ milliseconds }) => milliseconds).sort((a, b) => a - b);
  const last = evaluations.at(-1);
  return {
    tried: of('tried'),
    succeeded: of('succeeded'),
    failed: of('failed'),
    steps: attempts.length,
    raised: attempts.filter(({ error }) => error !== undefined).length,
    applied: records.filter(({ applied }) => applied).length,
    skipped: records.filter(({ applied }) => !applied).length,
    bytesCopied: of('bytesCopied') + sum(attempts.map(({ bytesCopied }) => bytesCopied)),
    milliseconds: times.length > 0 ? times[Math.floor(times.length / 2)] : undefined,
    firstLoss: records[0]?.loss,
    lastLoss: records.at(-1)?.loss,
    before: evaluations.find(({ record }) => record.step === 0)?.record,
    evaluation: last?.record,
    weightChange: last?.weightChange,
    stopped: ended?.error !== undefined,
    firstError:
      evaluations.find(({ record }) => record.firstError)?.record.firstError ??
      attempts.find(({ error }) => error !== undefined)?.error ??
      ended?.error,
  };
}
