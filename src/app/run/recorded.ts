// The recorded run that the page shows before anything has loaded: a file beside the page, written
// by the same engine.

import { DEFAULTS } from '../../config';
import type { AdapterReport, EvaluationRecord, RunReport, StepRecord } from '../../worker/protocol';
import { RunHistory } from '../charts/history';
import type { ShownRun } from './shown-run';

/**
 * Undefined if there is no recording at `url`, or it cannot be read: the page then starts with
 * empty charts.
 */
export async function loadRecording(url: string): Promise<ShownRun | undefined> {
  try {
    const response = await fetch(url);
    if (!response.ok) return undefined;
    return readRecording(await response.json());
  } catch (error) {
    console.warn('The recorded run could not be read.', error);
    return undefined;
  }
}

/** Numbers that JSON lacks (NaN) were written as null. @throws Error if a key is missing */
function readRecording(json: unknown): ShownRun {
  const { config, adapter, run, records, evaluations, date } = json as Record<string, unknown>;
  if (
    !Array.isArray(records) ||
    !Array.isArray(evaluations) ||
    !config ||
    !adapter ||
    !run ||
    typeof date !== 'string'
  ) {
    throw new Error(
      'The recorded run lacks one of config, adapter, run, records, evaluations, date.',
    );
  }
  const history = new RunHistory(Math.max(1, records.length));
  history.append(records.map((record) => withNaN(record) as StepRecord));
  for (const evaluation of evaluations as EvaluationRecord[]) history.appendEvaluation(evaluation);
  return {
    id: '',
    source: 'recorded',
    config: { ...DEFAULTS, ...config },
    adapter: adapter as AdapterReport,
    report: run as RunReport,
    history,
    marks: [],
    events: [],
    date,
  };
}

function withNaN(record: object): object {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, value === null ? NaN : value]),
  );
}
