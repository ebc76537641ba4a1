// The Bug Lab's store: what is chosen (it follows the address), and what the experiments reported.
// One experiment runs at a time; its reports stay until it runs again. React is told at most five
// times a second.

import { create } from 'zustand';
import type {
  BugLabColumn,
  BugLabReport,
  Experiment,
  Failure,
  FromWorker,
} from '../../worker/protocol';
import { listen, send } from '../shared/client';
import { useRoom, writeRoom } from '../shared/rooms';
import type { AllSettings, Card, Settings } from './settings';
import { DEFAULTS, formatState, parseState } from './settings';

const COMMIT_INTERVAL = 200;

type Of<Kind extends BugLabReport['kind']> = Extract<BugLabReport, { kind: Kind }>;

/** What one column reported. */
export interface ColumnRun {
  attempts: Of<'step'>['attempt'][];
  evaluations: Pick<Of<'evaluation'>, 'record' | 'weightChange'>[];
  picture?: Of<'attention'>['picture'];
  ended?: { error?: string };
}

export interface LabRun {
  experiment: Experiment;
  /** Milliseconds, as performance.now() has them: tells one run from the next. */
  startedAt: number;
  /** stopped: ended before every column was done. */
  state: 'loading' | 'running' | 'done' | 'stopped' | 'failed';
  /** What is being loaded. */
  detail: string;
  columns: Partial<Record<BugLabColumn, ColumnRun>>;
  failure?: Failure;
}

/** The columns of each experiment, in the order in which they run. */
export const COLUMNS = {
  replay: ['view', 'reshape', 'strided'],
  causes: ['view', 'skipped', 'half-weights', 'detached'],
  heads: ['transposed', 'reshaped'],
} as const satisfies Record<Card, readonly BugLabColumn[]>;

interface BugStore {
  card: Card;
  settings: AllSettings;
  /** What was wrong with the link that was opened; the page stayed as it was. */
  problem?: string;
  runs: Partial<Record<Card, LabRun>>;
  /** The experiment that is going on. */
  current?: Card;
  stopping: boolean;
  /** Read out politely by screen readers. */
  announcement: string;

  open(text: string): void;
  dismissProblem(): void;
  /** Changes switches of the card that is open, and the address with them. */
  choose(settings: Partial<Settings<'replay'> & Settings<'causes'> & Settings<'heads'>>): void;
  run(): void;
  stop(): void;
}

export const useBug = create<BugStore>()((set, get) => {
  let reports: BugLabReport[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;

  function update(change: Partial<LabRun>, more: Partial<BugStore> = {}): void {
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
    for (const report of reports) columns[report.column] = taken(columns[report.column], report);
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

  function receive(message: FromWorker): void {
    const { current, runs } = get();
    const run = current && runs[current];
    if (!run) return;
    if (message.type === 'bug-lab-loading') update({ detail: message.detail });
    if (message.type === 'bug-lab-report') {
      reports.push(message.report);
      timer ??= setTimeout(flush, COMMIT_INTERVAL);
    }
    if (message.type !== 'bug-lab-done' && message.type !== 'bug-lab-failed') return;
    flush();
    if (message.type === 'bug-lab-failed') {
      end('failed', `The experiment stopped: ${message.failure.message}`, message.failure);
      return;
    }
    const { columns } = get().runs[current] as LabRun;
    const whole = COLUMNS[current].every((column) => columns[column]?.ended);
    if (whole) end('done', 'The experiment is done.');
    else end('stopped', 'The experiment was stopped.');
  }

  listen(receive);
  useRoom.subscribe(({ bugLab }, before) => {
    if (bugLab !== before.bugLab) get().open(bugLab);
  });

  const first = {
    card: 'replay' as const,
    settings: DEFAULTS,
    runs: {},
    stopping: false,
    announcement: '',
  };
  return {
    ...first,
    ...opened(first, useRoom.getState().bugLab),

    open: (text) => set((state) => opened(state, text)),

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
      if (current) throw new Error(`The experiment ${current} is going on. Stop it first.`);
      const experiment = experimentOf(card, settings);
      reports = [];
      const startedAt = performance.now();
      const run: LabRun = {
        experiment,
        startedAt,
        state: 'loading',
        detail: 'Asking for the GPU',
        columns: {},
      };
      set({
        runs: { ...runs, [card]: run },
        current: card,
        announcement: 'The experiment begins.',
      });
      send({ type: 'bug-lab', experiment });
    },

    stop() {
      send({ type: 'bug-lab-stop' });
      set({ stopping: true });
    },
  };
});

/** The state after a link was opened; a link that is wrong changes nothing but what is said. */
function opened(state: Pick<BugStore, 'card' | 'settings'>, text: string): Partial<BugStore> {
  const parsed = parseState(text);
  if ('problem' in parsed) return { problem: parsed.problem };
  const { card, settings } = parsed;
  return { card, settings: { ...state.settings, [card]: settings }, problem: undefined };
}

/** What the worker is asked for. */
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

function taken(
  column: ColumnRun = { attempts: [], evaluations: [] },
  report: BugLabReport,
): ColumnRun {
  switch (report.kind) {
    case 'step':
      return { ...column, attempts: [...column.attempts, report.attempt] };
    case 'evaluation':
      return { ...column, evaluations: [...column.evaluations, report] };
    case 'attention':
      return { ...column, picture: report.picture };
    case 'ended':
      return { ...column, ended: { error: report.error } };
  }
}
