// The page's store: ties the pure reducer to the worker, to timers and to React. What a run
// measures goes straight to its RunHistory; React sees a new state at most five times a second, or
// at once where the phase changes or a person did something.

import { create } from 'zustand';
import type { Config, FieldName, LiveChanges } from '../../config';
import { checkConfig, FIELDS, twinConfig } from '../../config';
import type { Verdict } from '../../doctor/examine';
import type { Trial } from '../../doctor/trial';
import type { parseLink } from '../../link';
import { type Preset, presetOf } from '../../presets';
import { newRunId } from '../../runs/names';
import type { RunRow } from '../../runs/row';
import type { Failure, UserCorpus } from '../../worker/protocol';
import { RunHistory } from '../charts/history';
import { useModels } from '../models/store';
import { command, onRunEvent, request } from '../shared/client';
import { withGhost } from './ghost';
import { loadRecording } from './recorded';
import type { Dismissable, RunMessage, RunState } from './reduce';
import { INITIAL, isCurrent, reduce } from './reduce';
import type { ShownRun } from './shown-run';
import { describeChanges, lockReason, record } from './shown-run';

/** Milliseconds between two commits to React. */
const COMMIT_INTERVAL = 200;
/** A slider that is dragged sends its last value only. */
const CHANGE_DELAY = 150;
/** Somebody who types a text pauses between letters. */
const TEXT_DELAY = 800;

export interface RunStore extends RunState {
  /** Grows with each commit: the run's history may have changed. */
  commits: number;

  /** Asks what this machine offers. */
  probe(): Promise<void>;
  showRecording(path: string): Promise<void>;
  /** @throws Error if the settings cannot start a run */
  start(): void;
  /** Starts a run with these settings under this id, in place of the one that is shown. */
  startAs(runId: string, config: Config): void;
  /**
   * Goes on with a kept run from its last checkpoint. `corpus`: the user's files, if the run reads
   * some that are not kept.
   */
  continueRun(row: RunRow, corpus?: UserCorpus): void;
  /** Has a checkpoint written soon, because the page may be closed. */
  keep(): void;
  /** Starts the shown run again with a verdict's change, and compares it with what was. */
  tryCure(verdict: Verdict): void;
  pause(): void;
  resume(): void;
  step(): void;
  reset(): void;
  recover(): void;
  /** @throws Error if the field is locked */
  setField(name: FieldName, text: string): void;
  restoreDefault(name: FieldName): void;
  setCorpus(corpus: UserCorpus | undefined): void;
  /** Takes a preset's settings, and shows its recorded run if there is one and no other run. */
  choosePreset(preset: Pick<Preset, 'config' | 'recording'>): void;
  openLink(link: ReturnType<typeof parseLink>): void;
  setHidden(hidden: boolean): void;
  /** Introduces the page. */
  welcome(): void;
  dismiss(notice: Dismissable): void;
}

/** Events that come often wait for the next commit, unless they change what the page offers. */
function canWait(message: RunMessage, before: RunState, after: RunState): boolean {
  switch (message.type) {
    case 'steps':
    case 'evaluation':
    case 'sample':
    case 'twin-steps':
    case 'twin-evaluation':
    case 'note':
      return true;
    case 'status':
      return before.phase === after.phase;
    case 'loading':
      return before.loading?.stage === after.loading?.stage;
    default:
      return false;
  }
}

function emptyHistories(config: Config): { history: RunHistory; twin?: RunHistory } {
  const history = new RunHistory(config.train_steps);
  const twin = twinConfig(config);
  return twin ? { history, twin: new RunHistory(twin.train_steps) } : { history };
}

export const useRun = create<RunStore>()((set, get) => {
  /** The newest state, if React has not seen it yet. */
  let pending: RunState | undefined;
  let commitTimer: ReturnType<typeof setTimeout> | undefined;
  let changeTimer: ReturnType<typeof setTimeout> | undefined;
  let wantedRecording: string | undefined;
  let changes: LiveChanges = {};

  const current = (): RunState => pending ?? get();

  function dispatch(message: RunMessage): void {
    const before = current();
    pending = reduce(before, message, performance.now());
    if (canWait(message, before, pending)) commitTimer ??= setTimeout(commit, COMMIT_INTERVAL);
    else commit();
  }

  function commit(): void {
    clearTimeout(commitTimer);
    commitTimer = undefined;
    const state = current();
    pending = undefined;
    set({ ...state, commits: get().commits + 1 });
  }

  function liveRun(): ShownRun {
    const { run } = current();
    if (run?.source !== 'live') throw new Error('There is no run. Start one first.');
    return run;
  }

  /** Frees what the worker still holds of the run that is shown. */
  function dropRun(): void {
    clearTimeout(changeTimer);
    changes = {};
    const { run } = current();
    if (run?.source === 'live') command({ type: 'reset', runId: run.id });
  }

  /** Drops the run that is shown, and takes other settings. */
  function leaveFor(config: Config, base?: Config): void {
    dropRun();
    dispatch({ type: 'reset' });
    dispatch({ type: 'link', link: { config, ghost: current().ghost }, base });
  }

  function sendChanges(): void {
    const { phase } = current();
    if (phase === 'running' || phase === 'paused')
      command({ type: 'change', runId: liveRun().id, changes });
    changes = {};
  }

  function start(trial?: Trial, runId = newRunId()): void {
    const { config, corpus, drafts } = current();
    const problems = [...Object.keys(drafts), ...checkConfig(config)];
    if (problems.length > 0)
      throw new Error(`These settings cannot start a run. ${problems.join(' ')}`);
    dropRun();
    dispatch({ type: 'start', runId, ...emptyHistories(config), trial });
    const { dropped } = useModels.getState();
    command({
      type: 'start',
      runId,
      config: { ...config },
      ...(corpus && { corpus }),
      ...(Object.keys(dropped).length > 0 && { files: dropped }),
    });
  }

  onRunEvent((event) => {
    const state = current();
    if (state.run && isCurrent(state, event)) record(state.run, event);
    dispatch(event);
  });

  return {
    ...INITIAL,
    commits: 0,

    probe: () =>
      request('probe', {}).then(
        (adapter) => dispatch({ type: 'adapter', adapter }),
        (failure: Failure) => dispatch({ type: 'unavailable', failure }),
      ),

    async showRecording(path) {
      wantedRecording = path;
      const url = new URL(path, document.baseURI).href;
      const run = (await loadRecording(url)) ?? null;
      // Another preset may have been chosen meanwhile.
      if (path === wantedRecording) dispatch({ type: 'recording', run });
    },

    start: () => start(),

    startAs(runId, config) {
      leaveFor(config, current().base);
      start(undefined, runId);
    },

    tryCure(verdict) {
      const { config, history, diagnosis } = liveRun();
      const changed = { ...config, ...verdict.change };
      const difference = describeChanges(config, verdict.change ?? {});
      const evaluations = [...history.evaluations];
      leaveFor(changed, current().base);
      const stood = diagnosis?.verdicts ?? [];
      start({ verdict, difference, stood, config, evaluations });
    },

    continueRun({ id: runId, config, own }, corpus) {
      leaveFor({ ...config });
      dispatch({ type: 'start', runId, ...emptyHistories(config) });
      const { dropped: files } = useModels.getState();
      const texts = own ? corpus : undefined;
      command({
        type: 'start',
        runId,
        config: { ...config },
        corpus: texts,
        files,
        continues: true,
      });
    },

    keep() {
      const { phase, run } = current();
      if (phase === 'running' && run) command({ type: 'keep', runId: run.id });
    },

    pause() {
      command({ type: 'pause', runId: liveRun().id });
      dispatch({ type: 'ask', for: 'pause' });
    },

    resume() {
      command({ type: 'resume', runId: liveRun().id });
      dispatch({ type: 'ask', for: 'resume' });
    },

    step: () => command({ type: 'step', runId: liveRun().id }),

    reset() {
      dropRun();
      dispatch({ type: 'reset' });
    },

    recover() {
      const runId = liveRun().id;
      dispatch({ type: 'recover' });
      command({ type: 'recover', runId });
    },

    setField(name, text) {
      const { phase, run } = current();
      const locked = lockReason(phase, name, run);
      if (locked) throw new Error(`${name} cannot change. ${locked}`);
      dispatch({ type: 'field', name, text });
      const { config, drafts } = current();
      if (drafts[name] || (phase !== 'running' && phase !== 'paused')) return;
      Object.assign(changes, { [name]: config[name] });
      clearTimeout(changeTimer);
      const delay = FIELDS[name].type === 'text' ? TEXT_DELAY : CHANGE_DELAY;
      changeTimer = setTimeout(sendChanges, delay);
    },

    restoreDefault: (name) => get().setField(name, String(current().base[name])),

    setCorpus: (corpus) => dispatch({ type: 'corpus', corpus }),

    choosePreset(preset) {
      dispatch({ type: 'preset', config: preset.config });
      if (preset.recording) void get().showRecording(preset.recording);
    },

    openLink(link) {
      dispatch({ type: 'link', link: withGhost(link) });
      const { phase, config } = current();
      const recording = phase === 'idle' ? presetOf(config)?.recording : undefined;
      if (recording && recording !== wantedRecording) void get().showRecording(recording);
    },

    setHidden: (hidden) => dispatch({ type: 'visibility', hidden }),

    welcome: () => dispatch({ type: 'welcome' }),

    dismiss: (notice) => dispatch({ type: 'dismiss', notice }),
  };
});
