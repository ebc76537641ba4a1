// What the story's script would have printed for a column's reports, and the figures that the
// reports really contain. Pure.

import type { EvaluationRecord } from '../../worker/protocol';
import { formatMeasure, plural } from '../shared/format';
import type { ColumnRun } from './store';

/** The script printed no perplexity above this. */
export const CLAMP = 10_000;

/** min(perplexity, 10000), where a missing perplexity counts as ∞: 10000.0. */
export function scriptPerplexity(perplexity: number | undefined): string {
  return Math.min(perplexity ?? Number.POSITIVE_INFINITY, CLAMP).toFixed(1);
}

/** The perplexity as measured, or that there was no valid token. */
export function measuredPerplexity(record: EvaluationRecord | undefined): string {
  if (record === undefined) return 'n/a';
  return record.studentPerplexity === undefined
    ? `n/a (${plural(record.tokens, 'valid token')})`
    : formatMeasure(record.studentPerplexity);
}

/**
 * The fraction of training steps that returned, up to and including `step`. A step whose exception
 * was swallowed counts, so this says nothing about measurements. Undefined before the first step.
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
 * One line per evaluation: `Step 8: Loss=6.1234, PPL=10000.0, Success=1.000`. Before the first step
 * the loss is n/a.
 */
export function scriptLog(column: ColumnRun, clamp: boolean): { step: number; text: string }[] {
  return column.evaluations.map(({ record }) => {
    const { step } = record;
    const loss = column.attempts.findLast((attempt) => attempt.step <= step && attempt.record)
      ?.record?.loss;
    const success = scriptSuccess(column, step);
    const perplexity = clamp
      ? scriptPerplexity(record.studentPerplexity)
      : measuredPerplexity(record);
    const figures = `Loss=${fixed(loss, 4)}, PPL=${perplexity}, Success=${fixed(success, 3)}`;
    return { step, text: `Step ${step}: ${figures}` };
  });
}

const fixed = (value: number | undefined, digits: number) => value?.toFixed(digits) ?? 'n/a';

/**
 * The last step at which every one of these columns has been evaluated. They take turns, so their
 * last evaluations may be of different steps, which must not be compared.
 */
export function commonEvaluation(columns: readonly (ColumnRun | undefined)[]): number | undefined {
  const steps = columns.map((column) => column?.evaluations.at(-1)?.record.step);
  return steps.includes(undefined) ? undefined : Math.min(...(steps as number[]));
}

/** The totals of a column's reports. */
export interface Totals {
  /** Evaluation batches: tried = succeeded + failed. */
  tried: number;
  succeeded: number;
  failed: number;
  /** Training steps tried, and those that raised. */
  steps: number;
  raised: number;
  /** Steps that changed the weights, and those that were skipped. */
  applied: number;
  skipped: number;
  /** Bytes that steps and evaluations copied to make their rows contiguous. */
  bytesCopied: number;
  /** Median wall time of a step. */
  milliseconds?: number;
  firstLoss?: number;
  lastLoss?: number;
  /** The evaluation before training, and the last evaluation. */
  before?: EvaluationRecord;
  evaluation?: EvaluationRecord;
  weightChange?: number;
  firstError?: string;
  /** An uncaught exception ended the column. */
  stopped: boolean;
}

export function totalsOf({ attempts, evaluations, ended }: ColumnRun): Totals {
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  const evaluationSum = (name: 'tried' | 'succeeded' | 'failed' | 'bytesCopied') =>
    sum(evaluations.map(({ record }) => record[name]));
  const records = attempts.flatMap(({ record }) => record ?? []);
  const times = attempts.map(({ milliseconds }) => milliseconds).sort((a, b) => a - b);
  const last = evaluations.at(-1);
  return {
    tried: evaluationSum('tried'),
    succeeded: evaluationSum('succeeded'),
    failed: evaluationSum('failed'),
    steps: attempts.length,
    raised: attempts.filter(({ error }) => error !== undefined).length,
    applied: records.filter(({ applied }) => applied).length,
    skipped: records.filter(({ applied }) => !applied).length,
    bytesCopied: evaluationSum('bytesCopied') + sum(attempts.map(({ bytesCopied }) => bytesCopied)),
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
