// The page's state as a pure function of what happened: `reduce(state, message, now)`. Messages
// come from the worker (RunEvent) and from the page itself (PageMessage). Nothing here knows React,
// the DOM, a timer or the worker.
//
// Measurements are not in the state. They lie in the run's RunHistory, to which the caller appends
// (`record`) before it reduces; the state only carries the reference.

import type { Config, FieldName } from '../../config';
import { checkField, DEFAULTS, FIELDS } from '../../config';
import { judge, type Outcome, type Trial, type Tried } from '../../doctor/trial';
import { presetOf } from '../../presets';
import type {
  AdapterReport,
  Failure,
  RunEvent,
  RunStatus,
  UserCorpus,
} from '../../worker/protocol';
import type { RunHistory } from '../charts/history';
import type { OpenedLink, ShownGhost } from './ghost';
import * as log from './log';
import type { Draft, Loading, LogEvent, Phase, ShownRun } from './shown-run';
import { describeChanges, isActive, lockReason } from './shown-run';

const MAX_EVENTS = 500;
/** Further runs of a visit are forgotten, the oldest first. */
const MAX_EARLIER = 8;
/** A shorter look at another tab is not worth a notice. */
const HIDDEN_MILLISECONDS = 10_000;

export interface RunState {
  phase: Phase;
  /** The settings as shown: those of the next run, or of the current one. */
  config: Config;
  /** The settings that changes are counted from: a preset's, or the defaults for a link. */
  base: Config;
  /** Texts that their fields refuse. */
  drafts: Partial<Record<FieldName, Draft>>;
  corpus?: UserCorpus;
  /** What was wrong with the link that was opened. */
  linkProblems: string[];
  /** The run that came with the link. */
  ghost?: ShownGhost;
  /** Why the link's ghost is not shown. */
  ghostProblem?: string;
  /** What the charts show. */
  run?: ShownRun;
  /** Runs of this visit before the one that is shown, the latest first. */
  earlier: readonly ShownRun[];
  /** `undefined` while it loads, `null` if there is none. */
  recording?: ShownRun | null;
  adapter?: AdapterReport;
  /** Why no run can start on this machine. */
  unavailable?: Failure;
  status?: RunStatus;
  loading?: Loading;
  failure?: Failure;
  lost?: { message: string; resumeStep?: number; failure?: Failure };
  /** Why the run is not kept at present. */
  unkept?: Failure;
  /** The command that the worker has not confirmed yet. */
  requested?: 'pause' | 'resume';
  /** The last optimiser step that the worker reported. */
  lastStep: number;
  /** How long the run has trained, without pauses, up to the last change of phase. */
  trainedMilliseconds: number;
  /** When the present stretch of training began, on the clock of `now`. */
  trainingSince?: number;
  /** When the tab was hidden during training, and at which step. */
  hidden?: { since: number; step: number };
  /** Shown once the tab is visible again. */
  hiddenNote?: string;
  /** The Doctor's change on trial in the present run. */
  trial?: Trial;
  /** What the present run shows of that change. */
  outcome?: Outcome;
  /** Read out politely by screen readers. */
  announcement: string;
  /** The page introduces itself to somebody who has not dismissed that before. */
  welcoming: boolean;
}

/** What happens on the page itself. */
export type PageMessage =
  | { type: 'adapter'; adapter: AdapterReport }
  /** The GPU cannot be opened. */
  | { type: 'unavailable'; failure: Failure }
  /** The recorded run has loaded, or there is none. */
  | { type: 'recording'; run: ShownRun | null }
  /** A run starts with the settings as they are. */
  | { type: 'start'; runId: string; history: RunHistory; twin?: RunHistory; trial?: Trial }
  | { type: 'ask'; for: 'pause' | 'resume' }
  | { type: 'reset' }
  | { type: 'recover' }
  /** Text in a field. A locked field keeps its value. */
  | { type: 'field'; name: FieldName; text: string }
  | { type: 'corpus'; corpus?: UserCorpus }
  | { type: 'preset'; config: Config }
  /** `base`: what changes are counted from; a preset's settings, or the defaults, without it. */
  | { type: 'link'; link: OpenedLink; base?: Config }
  | { type: 'welcome' }
  | { type: 'dismiss'; notice: Dismissable }
  | { type: 'visibility'; hidden: boolean };

export type RunMessage = RunEvent | PageMessage;

export type Dismissable = 'link' | 'ghost' | 'hidden' | 'welcome';

export const INITIAL: RunState = {
  phase: 'idle',
  config: { ...DEFAULTS },
  base: DEFAULTS,
  drafts: {},
  linkProblems: [],
  earlier: [],
  lastStep: 0,
  trainedMilliseconds: 0,
  announcement: '',
  welcoming: false,
};

/** What a new run, or none, knows nothing of. */
const NO_RUN = {
  status: undefined,
  failure: undefined,
  lost: undefined,
  unkept: undefined,
  hidden: undefined,
  hiddenNote: undefined,
  lastStep: 0,
  trainedMilliseconds: 0,
  trainingSince: undefined,
  trial: undefined,
  outcome: undefined,
};

const DISMISSED: Record<Dismissable, Partial<RunState>> = {
  link: { linkProblems: [] },
  ghost: { ghost: undefined, ghostProblem: undefined },
  hidden: { hiddenNote: undefined },
  welcome: { welcoming: false },
};

/**
 * True if an event is about the run that is shown. Events of a run that was reset or replaced may
 * still be on their way.
 */
export function isCurrent({ run }: RunState, event: RunEvent): boolean {
  return run?.source === 'live' && run.id === event.runId;
}

/** The state after `message`. `now` is a clock in milliseconds, such as performance.now(). */
export function reduce(state: RunState, message: RunMessage, now: number): RunState {
  if ('runId' in message && message.type !== 'start')
    return isCurrent(state, message) ? reduceEvent(state, message, now) : state;
  return reducePage(state, message, now);
}

function reducePage(state: RunState, message: PageMessage, now: number): RunState {
  switch (message.type) {
    case 'adapter':
      return { ...state, adapter: message.adapter, unavailable: undefined };
    case 'unavailable':
      return { ...state, unavailable: message.failure };
    case 'recording': {
      const recording = message.run;
      const run = state.phase === 'idle' ? (recording ?? undefined) : state.run;
      return { ...state, recording, run };
    }
    case 'start': {
      const run: ShownRun = {
        id: message.runId,
        source: 'live',
        config: { ...state.config },
        corpus: state.corpus,
        history: message.history,
        twin: message.twin,
        marks: [],
        events: [],
      };
      // A kept run that goes on is no longer an earlier one.
      const earlier = withEarlier(state).filter(({ id }) => id !== run.id);
      return judged({
        ...enter({ ...state, ...NO_RUN, run, earlier }, 'loading', now),
        loading: { stage: 'device', detail: '' },
        trial: message.trial,
        announcement: log.LOADING,
      });
    }
    case 'ask':
      return { ...state, requested: message.for };
    case 'reset': {
      const run = state.recording ?? undefined;
      const idle = enter({ ...state, run, earlier: withEarlier(state) }, 'idle', now);
      return { ...idle, ...NO_RUN, announcement: log.DROPPED };
    }
    case 'recover': {
      const text = log.recovering(state.lost?.resumeStep ?? 0);
      return {
        ...enter(withEvent(state, { step: state.lastStep, kind: 'note', text }), 'loading', now),
        lost: undefined,
        loading: { stage: 'device', detail: '' },
      };
    }
    case 'field':
      return reduceField(state, message.name, message.text);
    case 'corpus':
      return { ...state, corpus: message.corpus };
    case 'preset': {
      if (isActive(state.phase)) return state;
      const { config } = message;
      return { ...state, config: { ...config }, base: config, drafts: {}, linkProblems: [] };
    }
    case 'link': {
      const { link } = message;
      if ('problems' in link) return { ...state, linkProblems: link.problems };
      if (isActive(state.phase)) return { ...state, linkProblems: [log.LINK_REFUSED] };
      const { config, ghost, ghostProblem } = link;
      const base = message.base ?? presetOf(config)?.config ?? DEFAULTS;
      return { ...state, config, base, drafts: {}, linkProblems: [], ghost, ghostProblem };
    }
    case 'welcome':
      return { ...state, welcoming: true };
    case 'dismiss':
      return { ...state, ...DISMISSED[message.notice] };
    case 'visibility':
      return reduceVisibility(state, message.hidden, now);
  }
}

function reduceEvent(state: RunState, event: RunEvent, now: number): RunState {
  const run = state.run as ShownRun;
  switch (event.type) {
    case 'loading': {
      const { runId: _, type: __, ...loading } = event;
      return { ...state, loading };
    }
    case 'continued': {
      const { step, seconds, initial, config, corpus } = event;
      const continued: ShownRun = { ...run, config: initial, corpus };
      const trainedMilliseconds = 1000 * seconds;
      return { ...state, config, corpus, run: continued, lastStep: step, trainedMilliseconds };
    }
    case 'kept':
      return state;
    case 'unkept': {
      const { failure } = event;
      const text = failure
        ? log.unkept(failure, state.phase === 'running' || state.phase === 'loading')
        : log.KEPT_AGAIN;
      return withEvent({ ...state, unkept: failure }, { step: state.lastStep, kind: 'note', text });
    }
    case 'note':
      return withEvent(state, { step: state.lastStep, kind: 'note', text: event.text });
    case 'ready': {
      const ready = { ...run, adapter: event.adapter, report: event.run };
      return { ...state, adapter: event.adapter, run: ready };
    }
    case 'steps': {
      const skipped = event.records
        .filter(({ applied }) => !applied)
        .map((record): LogEvent => {
          return { step: record.step, kind: 'skipped', text: log.skipped(record) };
        });
      const lastStep = event.records.at(-1)?.step ?? state.lastStep;
      return withEvent({ ...state, lastStep, loading: undefined }, ...skipped);
    }
    case 'sample':
    case 'twin-steps':
    case 'twin-evaluation':
      return state;
    case 'evaluation':
      return {
        ...state,
        loading: undefined,
        announcement: log.evaluated(event.record, !state.run?.report?.otherVocabulary),
      };
    case 'status':
      return reduceStatus(state, event.status, now);
    case 'diagnosis': {
      const { step, line, verdicts, fresh } = event;
      const diagnosed = { ...state, run: { ...run, diagnosis: { line, verdicts } } };
      const lines = fresh.map(
        (verdict): LogEvent => ({ step, kind: 'note', text: log.diagnosed(verdict) }),
      );
      const announcement = lines[0]?.text ?? state.announcement;
      return judged({ ...withEvent(diagnosed, ...lines), announcement });
    }
    case 'changed': {
      const { step, changes } = event;
      const text = describeChanges(run.config, changes);
      const changed: ShownRun = {
        ...run,
        config: { ...run.config, ...changes },
        marks: Object.keys(changes).every((name) => name === 'prompt')
          ? run.marks
          : [...run.marks, { step, text }],
      };
      const line: LogEvent = { step, kind: 'changed', text: log.changed(step, text) };
      return withEvent({ ...state, run: changed }, line);
    }
    case 'failed': {
      const text = log.stopped(event.failure);
      const stopped = withEvent(state, { step: state.lastStep, kind: 'stopped', text });
      return judged({ ...enter(stopped, 'failed', now), failure: event.failure });
    }
    case 'lost': {
      const { message, resumeStep, failure } = event;
      const text = failure ? log.stopped(failure) : log.deviceLost(message);
      const stopped = withEvent(state, { step: state.lastStep, kind: 'stopped', text });
      return { ...enter(stopped, 'lost', now), lost: { message, resumeStep, failure } };
    }
  }
}

/** The worker alone decides when a run trains, pauses and finishes. */
function reduceStatus(state: RunState, status: RunStatus, now: number): RunState {
  const { phase, requested } = state;
  if (phase === 'failed' || phase === 'lost' || phase === 'idle') return state;
  if (phase === status.state) {
    const confirmed = requested === (status.state === 'paused' ? 'pause' : 'resume');
    return { ...state, status, requested: confirmed ? undefined : requested };
  }
  return judged({
    ...enter(state, status.state, now),
    status,
    announcement: log.entered(status.state, status.step),
  });
}

const ENDED: Partial<Record<Phase, Tried['ended']>> = { finished: 'finished', failed: 'stopped' };

/** The state with what the run shows of a change on trial, which is said when it turns. */
function judged(state: RunState): RunState {
  const { trial, run, phase, outcome: before } = state;
  if (!trial || !run) return state;
  const { evaluations } = run.history;
  const verdicts = run.diagnosis?.verdicts ?? [];
  const outcome = judge(trial, { evaluations, verdicts, ended: ENDED[phase] });
  if (outcome.state === before?.state) return { ...state, outcome };
  const text = log.tried(outcome);
  const line: LogEvent = { step: state.lastStep, kind: 'note', text };
  return { ...withEvent(state, line), outcome, announcement: text };
}

function reduceField(state: RunState, name: FieldName, text: string): RunState {
  const { phase, config, drafts, run } = state;
  if (lockReason(phase, name, run)) return state;
  const { type } = FIELDS[name];
  const value = type === 'number' || type === 'integer' ? numberOf(text) : text;
  const problem = checkField(name, value);
  if (problem !== undefined) return { ...state, drafts: { ...drafts, [name]: { text, problem } } };
  const { [name]: _, ...others } = drafts;
  return { ...state, config: { ...config, [name]: value }, drafts: others };
}

function reduceVisibility(state: RunState, hides: boolean, now: number): RunState {
  const { phase, run, lastStep, hidden } = state;
  if (hides) {
    const since = phase === 'running' ? { since: now, step: lastStep } : undefined;
    return { ...state, hidden: since };
  }
  if (!hidden || run?.source !== 'live') return state;
  const milliseconds = now - hidden.since;
  const shown = { ...state, hidden: undefined };
  if (milliseconds < HIDDEN_MILLISECONDS) return shown;
  return { ...shown, hiddenNote: log.hidden(hidden.step, lastStep, milliseconds / 1000) };
}

/** The state in another phase. A pending command and what was loading end with the old one. */
function enter(state: RunState, phase: Phase, now: number): RunState {
  const { trainingSince, trainedMilliseconds } = state;
  return {
    ...state,
    phase,
    requested: undefined,
    loading: undefined,
    trainedMilliseconds:
      trainedMilliseconds + (trainingSince === undefined ? 0 : now - trainingSince),
    trainingSince: phase === 'running' ? now : undefined,
  };
}

/** The earlier runs once the run that is shown gives way. It joins them if it measured anything. */
function withEarlier({ run, earlier }: RunState): readonly ShownRun[] {
  if (run?.source !== 'live') return earlier;
  const measured = run.history.length > 0 || run.history.evaluations.length > 0;
  return measured ? [run, ...earlier].slice(0, MAX_EARLIER) : earlier;
}

/** The state with lines added to the run's log; the oldest go when there are too many. */
function withEvent(state: RunState, ...lines: LogEvent[]): RunState {
  if (lines.length === 0 || !state.run) return state;
  const events = [...state.run.events, ...lines].slice(-MAX_EVENTS);
  return { ...state, run: { ...state.run, events } };
}

/** Text that is not a number stays text, so that the field's message can quote it. */
function numberOf(text: string): number | string {
  const value = Number(text);
  return text.trim() === '' || Number.isNaN(value) ? text : value;
}
