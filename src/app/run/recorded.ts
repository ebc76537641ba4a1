// The recorded run that the page shows before anything has loaded: a file beside the page, made
// with the same engine.

import type { Config } from '../../config';
import { DEFAULTS } from '../../config';
import type { AdapterReport, EvaluationRecord, RunReport, StepRecord } from '../../worker/protocol';
import { RunHistory } from '../charts/history';

export interface Recording {
  config: Config;
  adapter: AdapterReport;
  run: RunReport;
  history: RunHistory;
  /** ISO date on which it was recorded. */
  date: string;
}

/**
 * Undefined if there is no recording at `url`, or it cannot be read: the page then starts with
 * empty charts.
 */
export async function loadRecording(url: string): Promise<Recording | undefined> {
  try {
    const response = await fetch(url);
    if (!response.ok) return undefined;
    return readRecording(await response.json());
  } catch (error) {
    console.warn('The recorded run could not be read.', error);
    return undefined;
  }
}

/** Throws where a part is missing. Numbers that JSON cannot say (NaN) were written as null. */
function readRecording(json: unknown): Recording {
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
    config: { ...DEFAULTS, ...config },
    adapter: adapter as AdapterReport,
    run: run as RunReport,
    history,
    date,
  };
}

function withNaN(record: object): object {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name, value === null ? NaN : value]),
  );
}
