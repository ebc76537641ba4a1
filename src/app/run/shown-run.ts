// One run as the page shows it, live or recorded, and what may be done with it in each phase.

import type { Config, Field, FieldName } from '../../config';
import { FIELDS, isLive } from '../../config';
import type { Verdict } from '../../doctor/examine';
import type { ChartName } from '../../doctor/rule';
import type {
  AdapterReport,
  LoadingStage,
  RunEvent,
  RunReport,
  StageUnit,
  UserCorpus,
} from '../../worker/protocol';
import type { RunHistory } from '../charts/history';

/** idle: no run, the recorded one is shown. finished, failed: the run is over, its curves stay. */
export type Phase = 'idle' | 'loading' | 'running' | 'paused' | 'finished' | 'failed' | 'lost';

/** A line of the log beside the evaluations. */
export interface LogEvent {
  step: number;
  text: string;
  kind: 'note' | 'skipped' | 'changed' | 'stopped';
}

/** A live change that training feels, drawn as a thin line in every chart. */
export interface Mark {
  step: number;
  text: string;
}

/** Text in a field that is not a valid value, and why. */
export interface Draft {
  text: string;
  problem: string;
}

export interface Loading {
  stage: LoadingStage;
  detail: string;
  loaded?: number;
  total?: number;
  unit?: StageUnit;
}

/** What the Doctor says of a run. */
export interface Diagnosis {
  /** The gravest verdict, or that all is well, in a sentence. */
  line: string;
  verdicts: readonly Verdict[];
}

export interface ShownRun {
  /** Empty for the recorded run. */
  id: string;
  source: 'recorded' | 'live';
  config: Config;
  history: RunHistory;
  /** What the second student measured, if the run has one. */
  twin?: RunHistory;
  marks: Mark[];
  events: LogEvent[];
  adapter?: AdapterReport;
  report?: RunReport;
  diagnosis?: Diagnosis;
  /** The user's own text, if the run reads one. */
  corpus?: UserCorpus;
  /** When the recorded run was made, as an ISO date. */
  date?: string;
}

/** Adds what an event measured to the run's history, which lies outside the page's state. */
export function record({ history, twin }: ShownRun, event: RunEvent): void {
  if (event.type === 'steps') history.append(event.records);
  else if (event.type === 'evaluation') history.appendEvaluation(event.record);
  else if (event.type === 'twin-steps') twin?.append(event.records);
  else if (event.type === 'twin-evaluation') twin?.appendEvaluation(event.record);
  else if (event.type === 'sample') history.appendSample(event.record);
}

/** True if something would be lost with this run. */
export function hasMeasured({ source, history }: ShownRun): boolean {
  return source === 'live' && (history.length > 0 || history.evaluations.length > 0);
}

/** True while a run exists: until it is over, only live settings may change. */
export function isActive(phase: Phase): boolean {
  return phase === 'loading' || phase === 'running' || phase === 'paused' || phase === 'lost';
}

/** Why a setting cannot change now; undefined if it can. */
export function lockReason(
  phase: Phase,
  name: FieldName,
  run: ShownRun | undefined,
): string | undefined {
  if (!isActive(phase)) return undefined;
  if (!isLive(name) || phase === 'loading' || phase === 'lost')
    return 'Fixed during a run. Reset the run to change it.';
  const cache = run?.report?.cache;
  if (name === 'prompt' && cache) {
    return (
      'Fixed during this run: the cached teacher is no longer in memory, so it cannot continue ' +
      'another prompt.'
    );
  }
  if (name !== 'temperature' || !cache || cache.k === cache.V) return undefined;
  return (
    'Fixed during this run: the tail in the teacher’s cache was computed at this temperature. ' +
    'A cache of all tokens (Cached tokens = 0) allows changes.'
  );
}

/** True if runs from `a` and `b` start alike: all settings but the live ones are equal. */
export function sameStart(a: Config, b: Config): boolean {
  return (Object.keys(FIELDS) as FieldName[]).every((name) => isLive(name) || a[name] === b[name]);
}

export const sameSettings = (a: Config, b: Config): boolean =>
  (Object.keys(FIELDS) as FieldName[]).every((name) => a[name] === b[name]);

/** True if a run with `config` would repeat this one from its first step to its last. */
export const repeats = (run: ShownRun, config: Config): boolean =>
  run.marks.length === 0 && sameSettings(run.config, config);

/** "T 2 → 4, α 0.7 → 0.5" */
export function describeChanges(before: Config, changes: Partial<Config>): string {
  return (Object.keys(changes) as (keyof Config)[])
    .filter((name) => changes[name] !== before[name])
    .map((name) => {
      const { symbol, label, type }: Field = FIELDS[name];
      const shown = (value: unknown) =>
        value === '' ? 'none' : type === 'text' ? `“${value}”` : value;
      return `${symbol ?? label} ${shown(before[name])} → ${shown(changes[name])}`;
    })
    .join(', ');
}

/** The steps of a chart that the gravest verdict is about. */
export function regionsIn(
  { diagnosis }: ShownRun,
  chart: ChartName,
): { from: number; to: number; text: string }[] {
  const verdict = diagnosis?.verdicts[0];
  const region = verdict?.region;
  return region?.chart === chart
    ? [{ from: region.from, to: region.to, text: verdict?.title ?? '' }]
    : [];
}
