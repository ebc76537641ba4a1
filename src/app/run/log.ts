// Every sentence that the log and screen readers get about a run. Pure.

import type { Verdict } from '../../doctor/examine';
import type { Outcome } from '../../doctor/trial';
import type { EvaluationRecord, Failure, RunStatus, StepRecord } from '../../worker/protocol';
import { formatMeasure, formatShare } from '../shared/format';
import { answersRight, perplexity } from './evaluation';
import type { ShownRun } from './shown-run';

/** More lines would only be scrolled past; the perplexity chart's CSV has every evaluation. */
const MAX_LINES = 300;

export const LOADING = 'Loading.';
export const DROPPED = 'The run is closed. The table of runs keeps it.';
export const LINK_REFUSED =
  'A run is active, so its settings stay. Reset the run, then open the link again.';

export function skipped({ step, loss, lossScale, tokens }: StepRecord): string {
  const reason = tokens === 0 ? 'no valid targets' : 'a gradient was not finite';
  return `Step ${step}: skipped, ${reason} (Loss=${loss.toFixed(4)}, loss scale ${lossScale})`;
}

/** `text` as describeChanges writes it. */
export const changed = (step: number, text: string) => `Step ${step}: ${text}`;

export const diagnosed = ({ title, text }: Verdict) => `Doctor: ${title}. ${text}`;

export const tried = ({ text }: Outcome) => `Doctor: ${text}`;

export const stopped = ({ operation, message }: Failure) => `Stopped: ${operation}: ${message}`;

export const unkept = ({ message }: Failure, goesOn: boolean) =>
  `The run is not kept at present: ${message}${goesOn ? ' Training goes on.' : ''}`;

export const KEPT_AGAIN = 'The run is kept again, with all that it has reported.';

export const deviceLost = (message: string) => `GPU device lost: ${message}`;

export const recovering = (step: number) => `Recovering from step ${step}`;

/** `compared`: teacher and student have one vocabulary. */
export function evaluated(record: EvaluationRecord, compared = true): string {
  const { step, studentPerplexity, failed, tried } = record;
  const agreement = compared ? `, agreement ${formatShare(record.agreement)}` : '';
  const failures = failed > 0 ? `, ${failed} of ${tried} batches failed` : '';
  const answers = answersRight(record);
  return (
    `Evaluation at step ${step}: perplexity ${formatMeasure(studentPerplexity)}${agreement}` +
    `${answers ? `, ${answers}` : ''}${failures}.`
  );
}

export function entered(state: RunStatus['state'], step: number): string {
  if (state === 'running') return 'Training.';
  return state === 'paused' ? `Paused after step ${step}.` : `Finished after ${step} steps.`;
}

export function hidden(from: number, to: number, seconds: number): string {
  return `In ${Math.round(seconds)} s the run went from step ${from} to step ${to}.`;
}

/** A line for an evaluation, in the style of the script that this project grew from. */
export function evaluationLine(run: ShownRun, index: number): string {
  const record = run.history.evaluations[index];
  const point = run.history.atStep(record.step);
  const loss =
    record.step === 0 ? 'n/a' : point?.step === record.step ? point.loss.toFixed(4) : '…';
  const success = record.tried === 0 ? 'n/a' : (record.succeeded / record.tried).toFixed(3);
  return (
    `Step ${record.step}: Loss=${loss}, PPL=${perplexity(record)}, ` +
    `Success=${success} (${record.succeeded} of ${record.tried})`
  );
}

/** Within one step: what happened in it, what was measured after it, what ended it. */
const ORDER = ['skipped', 'changed', 'evaluation', 'note', 'stopped'] as const;

export interface LogLine {
  step: number;
  text: string;
  kind: (typeof ORDER)[number];
  problem: boolean;
}

/** Evaluations and events in order of their steps. */
export function logLines(run: ShownRun): LogLine[] {
  const { evaluations } = run.history;
  const first = Math.max(0, evaluations.length - MAX_LINES);
  const evaluationLines = evaluations.slice(first).map(
    (record, index): LogLine => ({
      step: record.step,
      text: evaluationLine(run, first + index),
      kind: 'evaluation',
      problem: record.failed > 0,
    }),
  );
  const eventLines = run.events.map(
    (event): LogLine => ({ ...event, problem: event.kind === 'stopped' }),
  );
  return [...eventLines, ...evaluationLines]
    .sort((a, b) => a.step - b.step || ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind))
    .slice(-MAX_LINES);
}
