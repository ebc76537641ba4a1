// The messages that the designed states are made of: what a run reports, made up, up to a step.

import { DEFAULTS } from '../../config';
import type { Verdict } from '../../doctor/examine';
import type { Failure, RunEvent } from '../../worker/protocol';
import { RunHistory } from '../charts/history';
import type { RunMessage } from '../run/reduce';
import type { ShownRun } from '../run/shown-run';
import { ADAPTER, evaluationAt, expertsAt, REPORT, statusAt, stepsBetween } from './measurements';

export const RUN = 'run-2';
const EARLIER = 'run-1';
export const STEPS = DEFAULTS.train_steps;
export const EVALUATION_STEPS = 20;

function recordedRun(): ShownRun {
  const history = new RunHistory(STEPS);
  history.append(stepsBetween(0, STEPS));
  for (let step = 0; step <= STEPS; step += EVALUATION_STEPS)
    history.appendEvaluation(evaluationAt(step));
  return {
    id: '',
    source: 'recorded',
    config: { ...DEFAULTS },
    history,
    marks: [],
    events: [],
    adapter: ADAPTER,
    report: REPORT,
    date: '2026-11-23T00:00:00Z',
  };
}

export const recorded = (): RunMessage => ({ type: 'recording', run: recordedRun() });
export const adapter: RunMessage = { type: 'adapter', adapter: ADAPTER };
export const start = () => ({ type: 'start' as const, runId: RUN, history: new RunHistory(STEPS) });
export const ready = {
  type: 'ready',
  runId: RUN,
  adapter: ADAPTER,
  run: REPORT,
} as const satisfies RunEvent;
export const status = (state: 'running' | 'paused' | 'finished', step: number): RunEvent => ({
  type: 'status',
  runId: RUN,
  status: statusAt(step, state),
});
export const lost = (resumeStep?: number, failure?: Failure): RunEvent => ({
  type: 'lost',
  runId: RUN,
  message: 'The driver was reset.',
  resumeStep,
  failure,
});
export const failed = (failure: Failure): RunEvent => ({ type: 'failed', runId: RUN, failure });

/** What the Doctor says of the scenes' runs. */
export const diagnosis = (step: number, ...verdicts: Verdict[]): RunEvent => ({
  type: 'diagnosis',
  runId: RUN,
  step,
  line:
    'Healthy: a step moved the weights by at most 0.0081 of their size, ' +
    'KL fell from 3.2 to 1.15 in ' +
    `${step} steps, 0 steps skipped.`,
  verdicts,
  fresh: verdicts,
});
export const opening: RunEvent[] = [
  ready,
  status('running', 0),
  { type: 'evaluation', runId: RUN, record: evaluationAt(0) },
];

/**
 * What a run reports between two evaluations, the first at `from` and the last at `to`, with losses
 * and perplexities `worse` times as large.
 */
export function trained(to: number, from = 0, worse = 1): RunEvent[] {
  const events: RunEvent[] = [];
  for (let step = from; step < to; step += EVALUATION_STEPS) {
    const end = step + EVALUATION_STEPS;
    events.push({ type: 'steps', runId: RUN, records: stepsBetween(step, end, worse) });
    events.push({ type: 'evaluation', runId: RUN, record: evaluationAt(end, worse) });
    events.push(status('running', end));
  }
  return events;
}

/** A run's report, and the same of its twin, which does worse. */
export function withTwin(event: RunEvent): RunEvent[] {
  if (event.type === 'steps') {
    const [from, to] = [event.records[0].step - 1, event.records.at(-1)?.step ?? 0];
    return [event, { type: 'twin-steps', runId: RUN, records: stepsBetween(from, to, 1.1) }];
  }
  if (event.type !== 'evaluation') return [event];
  const record = { ...evaluationAt(event.record.step, 1.2), equalTimePace: 1.64 };
  return [event, { type: 'twin-evaluation', runId: RUN, record }];
}

/** An evaluation of a student with experts in both of its layers. */
export const withExperts = (event: RunEvent): RunEvent =>
  event.type === 'evaluation'
    ? { ...event, record: { ...event.record, experts: expertsAt(event.record.step) } }
    : event;

/** The same of a student whose teacher has another vocabulary: nothing compares their tokens. */
export function withTwoVocabularies(event: RunEvent): RunEvent {
  if (event.type === 'ready') return { ...event, run: { ...event.run, otherVocabulary: true } };
  if (event.type !== 'evaluation') return event;
  const { teacherPerplexity, kl, agreement, overlap, overlapMass, ...others } = event.record;
  const { teacherEntropy, studentEntropy, klByPosition, klByFrequency, calibration, ...record } =
    others;
  return { ...event, record };
}

/** A whole run before the one that is shown. */
export function earlierRun(): RunMessage[] {
  const as = (event: RunMessage): RunMessage =>
    'runId' in event ? { ...event, runId: EARLIER } : event;
  return [
    { type: 'field', name: 'alpha', text: '0.2' },
    ...[start(), ...opening, ...trained(STEPS, 0, 1.15), status('finished', STEPS)].map(as),
    { type: 'field', name: 'alpha', text: String(DEFAULTS.alpha) },
  ];
}
