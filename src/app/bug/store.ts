// The Bug Lab's store: the options (they follow the address) and the reports of the experiments.
// One experiment runs at a time, and its reports stay until it runs again.

import { create } from 'zustand';
import type {
  BugLabColumn,
  BugLabReport,
  Experiment,
  ExperimentProgress,
  Failure,
} from '../../worker/protocol';
import { request, stopExperiment } from '../shared/client';
import { useRoom, writeRoom } from '../shared/rooms';
import type { AllSettings, Card, Settings } from './settings';
import { DEFAULTS, formatState, parseState } from './settings';

/** Milliseconds between updates of React while reports arrive. */
const COMMIT_INTERVAL = 200;

type ReportOf<Kind extends BugLabReport['kind']> = Extract<BugLabReport, { kind: Kind }>;

/** The reports of one column. */
export interface ColumnRun {
  /** How many steps the column trains for; undefined before the first. */
  totalSteps?: number;
  attempts: ReportOf<'step'>['attempt'][];
  evaluations: Pick<ReportOf<'evaluation'>, 'record' | 'weightChange'>[];
  picture?: ReportOf<'attention'>['picture'];
  ended?: { error?: string };
}

export interface BugLabRun {
  experiment: Experiment;
  /** From performance.now(), in milliseconds. Identifies the run. */
  startedAt: number;
  /** stopped: ended before every column had finished. */
  state: 'loading' | 'running' | 'done' | 'stopped' | 'failed';
  /** What is being loaded, for the user. */
  detail: string;
  columns: Partial<Record<BugLabColumn, ColumnRun>>;
  failure?: Failure;
}

/** The columns of each experiment, in the order in which they take turns. */
export const COLUMNS = {
  replay: ['view', 'reshape', 'strided'],
  causes: ['view', 'skipped', 'half-weights', 'detached'],
  heads: ['transposed', 'reshaped'],
} as const satisfies Record<Card, readonly BugLabColumn[]>;

interface BugLabStore {
  card: Card;
  settings: AllSettings;
  /** What is wrong with the last link. Such a link changes nothing else. */
  problem?: string;
  runs: Partial<Record<Card, BugLabRun>>;
  /** The experiment that is running. */
  current?: Card;
  stopping: boolean;
  /** For screen readers. */
  announcement: string;

  open(text: string): void;
  dismissProblem(): void;
  /** Changes options of the current card, and the address. */
  choose(settings: Partial<Settings<'replay'> & Settings<'causes'> & Settings<'heads'>>): void;
  run(): void;
  stop(): void;
}

export const useBugLab = create<BugLabStore>()((set, get) => {
  let reports: BugLabReport[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;

  function update(change: Partial<BugLabRun>, more: Partial<BugLabStore> = {}): void {
    const { current, runs } = get();
    const run = current && runs[current];
    if (run) set({ runs: { ...runs, [current]: { ...run, ...change } }, ...more });
  }

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    const { current, runs } = get();
    const run = current && runs[current];
    if (!run || reports.length === 0) return;
    const columns = { ...run.columns };
    for (const report of reports)
      columns[report.column] = addReport(columns[report.column], report);
    reports = [];
    update({ state: 'running', columns });
  }

  function end(
    state: 'done' | 'stopped' | 'failed',
    announcement: string,
    failure?: Failure,
  ): void {
    update({ state, failure }, { current: undefined, stopping: false, announcement });
  }

  function receive(progress: ExperimentProgress): void {
    if ('detail' in progress) update({ detail: progress.detail });
    else {
      reports.push(progress.report);
      timer ??= setTimeout(flush, COMMIT_INTERVAL);
    }
  }

  function finish(): void {
    flush();
    const { current, runs } = get();
    const run = current && runs[current];
    if (!run) return;
    if (COLUMNS[current].every((column) => run.columns[column]?.ended))
      end('done', 'The experiment has finished.');
    else end('stopped', 'The experiment was stopped.');
  }

  function fail(failure: Failure): void {
    flush();
    end('failed', `The experiment failed: ${failure.message}`, failure);
  }

  useRoom.subscribe(({ bugLab }, before) => {
    if (bugLab !== before.bugLab) get().open(bugLab);
  });

  const initial = {
    card: 'replay' as const,
    settings: DEFAULTS,
    runs: {},
    stopping: false,
    announcement: '',
  };
  return {
    ...initial,
    ...stateFromLink(initial, useRoom.getState().bugLab),

    open: (text) => set((state) => stateFromLink(state, text)),

    dismissProblem() {
      const { card, settings } = get();
      set({ problem: undefined });
      writeRoom('bugLab', formatState(card, settings[card]));
    },

    choose(changes) {
      const { card, settings } = get();
      writeRoom('bugLab', formatState(card, { ...settings[card], ...changes }));
    },

    run() {
      const { card, settings, runs, current } = get();
      if (current) throw new Error(`The experiment ${current} is running. Stop it first.`);
      const experiment = experimentOf(card, settings);
      reports = [];
      const startedAt = performance.now();
      const run: BugLabRun = {
        experiment,
        startedAt,
        state: 'loading',
        detail: 'requesting the GPU',
        columns: {},
      };
      set({
        runs: { ...runs, [card]: run },
        current: card,
        announcement: 'The experiment has started.',
      });
      request('bug-lab', { experiment }, receive).then(finish, fail);
    },

    stop() {
      stopExperiment();
      set({ stopping: true });
    },
  };
});

/** The changes that a link makes. An invalid link changes only the problem. */
function stateFromLink(
  state: Pick<BugLabStore, 'card' | 'settings'>,
  text: string,
): Partial<BugLabStore> {
  const parsed = parseState(text);
  if ('problem' in parsed) return { problem: parsed.problem };
  const { card, settings } = parsed;
  return { card, settings: { ...state.settings, [card]: settings }, problem: undefined };
}

/** The experiment that a card's options describe, as the worker runs it. */
export function experimentOf(card: Card, settings: AllSettings): Experiment {
  if (card !== 'replay') return { kind: card };
  const { batch, context, where, errors } = settings.replay;
  return {
    kind: 'replay',
    batchSize: Number(batch) as 1 | 4,
    contextLength: Number(context) as 2 | 32,
    where,
    errors,
  };
}

function addReport(
  column: ColumnRun = { attempts: [], evaluations: [] },
  report: BugLabReport,
): ColumnRun {
  switch (report.kind) {
    case 'step':
      return {
        ...column,
        totalSteps: report.totalSteps,
        attempts: [...column.attempts, report.attempt],
      };
    case 'evaluation':
      return { ...column, evaluations: [...column.evaluations, report] };
    case 'attention':
      return { ...column, picture: report.picture };
    case 'ended':
      return { ...column, ended: { error: report.error } };
  }
}
