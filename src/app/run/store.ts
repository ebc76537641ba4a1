// The page's one store: the settings, the run's state machine, and the commits that let React see
// new measurements. What a run measures goes straight to its RunHistory; React is told at most five
// times a second.

import { create } from 'zustand';
import type { Config, FieldName, LiveChanges } from '../../config';
import { checkConfig, checkField, DEFAULTS, FIELDS } from '../../config';
import type {
  AdapterReport,
  CheckRow,
  Failure,
  FromWorker,
  RunStatus,
  UserCorpus,
} from '../../worker/protocol';
import { RunHistory } from '../charts/history';
import { useModels } from '../models/store';
import { listen, send } from '../shared/client';
import { formatMeasure, formatShare } from '../shared/format';
import { loadRecording } from './recorded';
import type { Draft, Loading, LogEvent, Phase, ShownRun } from './shown-run';
import { describeChanges, isActive, lockReason } from './shown-run';

/** Milliseconds between two commits to React. */
const COMMIT_INTERVAL = 200;
/** A slider that is dragged sends its last value only. */
const CHANGE_DELAY = 150;
const MAX_EVENTS = 500;

export interface RunStore {
  phase: Phase;
  /** The settings as shown: those of the next run, or of the one that is going on. */
  config: Config;
  drafts: Partial<Record<FieldName, Draft>>;
  corpus?: UserCorpus;
  /** What was wrong with the link that was opened. */
  linkProblems: string[];
  /** What the charts show. */
  run?: ShownRun;
  /** `undefined` while it loads, `null` if there is none. */
  recording?: ShownRun | null;
  adapter?: AdapterReport;
  /** Why no run can start on this machine. */
  unavailable?: Failure;
  status?: RunStatus;
  loading?: Loading;
  failure?: Failure;
  lost?: { message: string; resumeStep?: number };
  /** The last check of the GPU's kernels: the text or the failure comes last. */
  check?: { rows: CheckRow[]; text?: string; failure?: Failure };
  /** What was asked of the worker and has not happened yet. */
  requested?: 'pause' | 'resume';
  /** How long the run has trained, without pauses. */
  activeMilliseconds: number;
  /** Said once the tab is visible again. */
  hiddenNote?: string;
  /** Read out politely by screen readers. */
  announcement: string;
  /** Grows whenever the run's history has changed. */
  commits: number;

  probe(): void;
  checkGpu(): void;
  showRecording(url: string): Promise<void>;
  start(): void;
  pause(): void;
  resume(): void;
  step(): void;
  reset(): void;
  recover(): void;
  setField(name: FieldName, text: string): void;
  restoreDefault(name: FieldName): void;
  setCorpus(corpus: UserCorpus | undefined): void;
  openLink(link: { config: Config } | { problems: string[] }): void;
  dismissLinkProblems(): void;
  setHidden(hidden: boolean): void;
  dismissHiddenNote(): void;
  receive(message: FromWorker): void;
}

export const useRun = create<RunStore>()((set, get) => {
  listen((message) => get().receive(message));
  let runs = 0;
  let commitTimer: ReturnType<typeof setTimeout> | undefined;
  let changeTimer: ReturnType<typeof setTimeout> | undefined;
  let waitingChanges: LiveChanges = {};
  let pending: Partial<RunStore> = {};
  let runningSince: number | undefined;
  let hiddenSince: { time: number; step: number } | undefined;

  /** Lets React see the new state: at once, or at the next commit. */
  function commit(state: Partial<RunStore>, when: 'now' | 'soon'): void {
    Object.assign(pending, state);
    if (when === 'now') flush();
    else commitTimer ??= setTimeout(flush, COMMIT_INTERVAL);
  }

  function flush(): void {
    clearTimeout(commitTimer);
    commitTimer = undefined;
    const state = pending;
    pending = {};
    set({ ...state, commits: get().commits + 1, activeMilliseconds: active() });
  }

  function active(): number {
    if (runningSince === undefined) return get().activeMilliseconds;
    const now = performance.now();
    const elapsed = get().activeMilliseconds + now - runningSince;
    runningSince = now;
    return elapsed;
  }

  function enter(phase: Phase, state: Partial<RunStore> = {}): void {
    const activeMilliseconds = active();
    runningSince = phase === 'running' ? performance.now() : undefined;
    set({ activeMilliseconds });
    if (phase !== 'running' && phase !== 'paused') {
      clearTimeout(changeTimer);
      waitingChanges = {};
    }
    commit({ phase, requested: undefined, loading: undefined, ...state }, 'now');
  }

  function log(run: ShownRun, event: LogEvent): void {
    run.events.push(event);
    if (run.events.length > MAX_EVENTS) run.events.shift();
  }

  function liveRun(): ShownRun {
    const run = get().run;
    if (run?.source !== 'live') throw new Error('No run is going on: start one first.');
    return run;
  }

  /** Drops the run that the worker still holds, if any. */
  function dropRun(): void {
    const run = get().run;
    if (run?.source === 'live') send({ type: 'reset', runId: run.id });
  }

  function sendChanges(): void {
    const changes = waitingChanges;
    waitingChanges = {};
    if (Object.keys(changes).length > 0) send({ type: 'change', runId: liveRun().id, changes });
  }

  function onSteps(
    run: ShownRun,
    records: Extract<FromWorker, { type: 'steps' }>['records'],
  ): void {
    run.history.append(records);
    for (const record of records) {
      if (record.applied) continue;
      const reason = record.tokens === 0 ? 'no target was valid' : 'a gradient was not finite';
      const scale = `loss scale ${record.lossScale}`;
      log(run, {
        step: record.step,
        kind: 'skipped',
        text: `Step ${record.step}: skipped, ${reason} (Loss=${record.loss.toFixed(4)}, ${scale})`,
      });
    }
    commit({ loading: undefined }, 'soon');
  }

  function onStatus(status: RunStatus): void {
    const { phase, requested } = get();
    if (phase === 'failed' || phase === 'lost' || phase === 'idle') return;
    if (phase === status.state) {
      const done = requested === (status.state === 'paused' ? 'pause' : 'resume');
      commit(done ? { status, requested: undefined } : { status }, 'soon');
      return;
    }
    const said = {
      running: 'Training.',
      paused: `Paused after step ${status.step}.`,
      finished: `Finished after ${status.step} steps.`,
    };
    enter(status.state, { status, announcement: said[status.state] });
  }

  return {
    phase: 'idle',
    config: { ...DEFAULTS },
    drafts: {},
    linkProblems: [],
    activeMilliseconds: 0,
    announcement: '',
    commits: 0,

    probe: () => send({ type: 'probe' }),

    checkGpu() {
      set({ check: { rows: [] } });
      send({ type: 'check' });
    },

    async showRecording(url) {
      const recording = await loadRecording(url);
      if (!recording) return set({ recording: null });
      const shown: ShownRun = {
        id: '',
        source: 'recorded',
        marks: [],
        events: [],
        report: recording.run,
        ...recording,
      };
      set({ recording: shown });
      if (get().phase === 'idle') commit({ run: shown }, 'now');
    },

    start() {
      const { config, corpus, drafts } = get();
      const problems = checkConfig(config);
      if (Object.keys(drafts).length > 0 || problems.length > 0) {
        throw new Error(
          `These settings cannot start a run. ${[...Object.keys(drafts), ...problems].join(' ')}`,
        );
      }
      dropRun();
      runs += 1;
      const run: ShownRun = {
        id: `run-${runs}`,
        source: 'live',
        config: { ...config },
        corpus,
        history: new RunHistory(config.train_steps),
        marks: [],
        events: [],
      };
      runningSince = undefined;
      const fresh = {
        run,
        status: undefined,
        failure: undefined,
        lost: undefined,
        hiddenNote: undefined,
        activeMilliseconds: 0,
      };
      set(fresh);
      enter('loading', {
        loading: { stage: 'device', detail: 'Asking for the GPU' },
        announcement: 'Loading.',
      });
      const files = useModels.getState().dropped;
      const given = { ...(corpus && { corpus }), ...(Object.keys(files).length > 0 && { files }) };
      send({ type: 'start', runId: run.id, config: run.config, ...given });
    },

    pause() {
      send({ type: 'pause', runId: liveRun().id });
      set({ requested: 'pause' });
    },

    resume() {
      send({ type: 'resume', runId: liveRun().id });
      set({ requested: 'resume' });
    },

    step: () => send({ type: 'step', runId: liveRun().id }),

    reset() {
      dropRun();
      runningSince = undefined;
      set({ activeMilliseconds: 0 });
      enter('idle', {
        run: get().recording ?? undefined,
        status: undefined,
        failure: undefined,
        lost: undefined,
        hiddenNote: undefined,
        announcement: 'The run was dropped.',
      });
    },

    recover() {
      const run = liveRun();
      const resumeStep = get().lost?.resumeStep;
      log(run, {
        step: run.history.lastStep,
        kind: 'note',
        text: `Recovering: on from step ${resumeStep ?? 0}`,
      });
      enter('loading', {
        lost: undefined,
        loading: { stage: 'device', detail: 'Asking for the GPU again' },
      });
      send({ type: 'recover', runId: run.id });
    },

    setField(name, text) {
      const { phase, config, drafts, run } = get();
      const locked = lockReason(phase, name, run);
      if (locked) throw new Error(`${name} cannot change. ${locked}`);
      const value =
        FIELDS[name].type === 'number' || FIELDS[name].type === 'integer' ? numberOf(text) : text;
      const problem = checkField(name, value);
      if (problem !== undefined) return set({ drafts: { ...drafts, [name]: { text, problem } } });
      const { [name]: _, ...otherDrafts } = drafts;
      set({ config: { ...config, [name]: value }, drafts: otherDrafts });
      if (phase === 'running' || phase === 'paused') {
        Object.assign(waitingChanges, { [name]: value });
        clearTimeout(changeTimer);
        changeTimer = setTimeout(sendChanges, CHANGE_DELAY);
      }
    },

    restoreDefault: (name) => get().setField(name, String(DEFAULTS[name])),

    setCorpus: (corpus) => set({ corpus }),

    openLink(link) {
      if ('problems' in link) return set({ linkProblems: link.problems });
      if (isActive(get().phase)) {
        return set({
          linkProblems: [
            'A run is going on, so its settings stay. Reset it, then open the link again.',
          ],
        });
      }
      set({ config: link.config, drafts: {}, linkProblems: [] });
    },

    dismissLinkProblems: () => set({ linkProblems: [] }),

    setHidden(hidden) {
      const { run, phase } = get();
      const step = run?.history.lastStep ?? 0;
      if (hidden) {
        hiddenSince = phase === 'running' ? { time: performance.now(), step } : undefined;
      } else if (hiddenSince && run?.source === 'live') {
        const seconds = Math.round((performance.now() - hiddenSince.time) / 1000);
        const note = `The run went from step ${hiddenSince.step} to ${step} in these ${seconds} s.`;
        // A glance at another tab is not worth a line.
        commit(seconds >= 10 ? { hiddenNote: note } : {}, 'now');
      }
    },

    dismissHiddenNote: () => set({ hiddenNote: undefined }),

    receive(message) {
      if (message.type === 'adapter')
        return set({ adapter: message.adapter, unavailable: undefined });
      const check = get().check;
      if (message.type === 'check-row')
        return set({ check: { rows: [...(check?.rows ?? []), message.row] } });
      if (message.type === 'check-done') {
        const { type: _, ...result } = message;
        return set({ check: { rows: check?.rows ?? [], ...result } });
      }
      if (message.type === 'failed' && check && !check.text && !check.failure)
        set({ check: { ...check, failure: message.failure } });
      if (message.type === 'failed' && message.runId === '')
        return set({ unavailable: message.failure });
      const run = get().run;
      // A run that was reset or replaced may still have messages on the way.
      if (run?.source !== 'live' || !('runId' in message) || message.runId !== run.id) return;
      switch (message.type) {
        case 'loading': {
          const { runId: _, type: __, ...loading } = message;
          return commit({ loading }, get().loading?.stage === loading.stage ? 'soon' : 'now');
        }
        case 'note':
          log(run, { step: run.history.lastStep, kind: 'note', text: message.text });
          return commit({}, 'soon');
        case 'ready':
          run.adapter = message.adapter;
          run.report = message.run;
          return commit({ adapter: message.adapter }, 'now');
        case 'steps':
          return onSteps(run, message.records);
        case 'evaluation': {
          run.history.appendEvaluation(message.record);
          const { step, studentPerplexity, agreement, failed, tried } = message.record;
          const figures = `perplexity ${formatMeasure(studentPerplexity)}, agreement ${formatShare(agreement)}`;
          const failures = failed > 0 ? `, ${failed} of ${tried} batches failed` : '';
          return commit(
            {
              loading: undefined,
              announcement: `Evaluation at step ${step}: ${figures}${failures}.`,
            },
            'soon',
          );
        }
        case 'status':
          return onStatus(message.status);
        case 'changed': {
          const text = describeChanges(run.config, message.changes);
          run.config = { ...run.config, ...message.changes };
          run.marks.push({ step: message.step, text });
          log(run, { step: message.step, kind: 'changed', text: `Step ${message.step}: ${text}` });
          return commit({}, 'soon');
        }
        case 'failed': {
          const { operation, message: reason } = message.failure;
          log(run, {
            step: run.history.lastStep,
            kind: 'stopped',
            text: `Stopped: ${operation}: ${reason}`,
          });
          return enter('failed', { failure: message.failure });
        }
        case 'lost':
          log(run, {
            step: run.history.lastStep,
            kind: 'stopped',
            text: `GPU device lost: ${message.message}`,
          });
          return enter('lost', {
            lost: { message: message.message, resumeStep: message.resumeStep },
          });
      }
    },
  };
});

/**
 * Text that is no number stays text, so that the field's own check refuses it by what was written.
 */
function numberOf(text: string): number | string {
  const value = Number(text);
  return text.trim() === '' || Number.isNaN(value) ? text : value;
}
