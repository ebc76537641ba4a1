// Runs a sweep on the page: one run after another, each started when the one before has ended. What
// is next follows from the sweep as it is kept, so a reload loses nothing.

import { create } from 'zustand';
import {
  type Axis,
  isDone,
  nextRun,
  type Outcome,
  type Sweep,
  settled,
  withOutcome,
} from '../../runs/sweep';
import type { Failure, KeptRuns, UserCorpus } from '../../worker/protocol';
import { useChartView } from '../charts/view';
import type { RunState } from '../run/reduce';
import { filesProblem } from '../run/start-problem';
import { useRun } from '../run/store';
import { draw } from '../runs/draw';
import { useRuns } from '../runs/store';
import { request } from '../shared/client';

const LOCK = 'stillhouse sweep ';

/** Failures that the next run would meet, too. */
const FOR_ALL: readonly Failure['kind'][] = [
  'no-webgpu',
  'no-adapter',
  'withdrawn',
  'network',
  'corpus',
];

interface SweepStore {
  /** The sweep of this visit, which stands above the charts. */
  shown?: Sweep;
  /** Starts one run after another. */
  running: boolean;
  /** Why it stopped by itself. */
  problem?: string;

  /** What is typed: one field or two, and their values. */
  axes: readonly Axis[];

  setAxes(axes: readonly Axis[]): void;
  /** Starts it, or goes on where it stopped, also after a reload. */
  goOn(sweep: Sweep): void;
  /** Pauses the run that trains, and starts no other. */
  stop(): void;
  /** Puts the sweep away. It stays with the kept runs. */
  close(): void;
}

export const useSweep = create<SweepStore>()((set, get) => {
  /** This page replaces one run by another: what leaves is no person's doing. */
  let replacing = false;
  let release = () => {};

  function halt(problem?: string): void {
    release();
    set({ running: false, problem });
  }

  /** Keeps the sweep, and hears what has become of its runs. */
  async function keep(sweep: Sweep) {
    set({ shown: sweep });
    const kept = await request('keep-sweep', { sweep }).catch(({ message }: Failure) => {
      set({ problem: `The sweep is not kept: ${message} It goes on until the tab is closed.` });
      return request('runs', {});
    });
    useRuns.setState({ kept });
    return kept;
  }

  async function advance(): Promise<void> {
    const { shown } = get();
    if (!shown) return;
    const { rows } = await keep(shown);
    const sweep = settled(shown, rows);
    const next = nextRun(sweep, rows);
    if (!get().running) return;
    if (!next) {
      await keep(sweep);
      return halt();
    }
    const { run, row } = next;
    const page = useRun.getState();
    const isShown = page.run?.source === 'live' && page.run.id === run.id;
    // It may have been told to pause a moment ago.
    if (isShown && (page.phase === 'paused' || page.phase === 'running')) return page.resume();
    if (isShown && page.phase === 'lost' && page.lost?.resumeStep !== undefined)
      return page.recover();
    const problem =
      filesProblem(run.config) ?? (row ? undefined : textsProblem(sweep, page.corpus));
    if (problem) return halt(problem);
    replacing = true;
    try {
      if (row) page.continueRun(row, page.corpus);
      else page.startAs(run.id, { ...run.config });
    } finally {
      replacing = false;
    }
    for (const { id } of useRun.getState().earlier)
      if (!sweep.runs.some((other) => other.id === id)) useChartView.getState().choose(id, false);
    for (const { id, outcome } of sweep.runs) {
      const ended = outcome && rows.find((other) => other.id === id);
      if (ended) await draw(ended, true);
    }
  }

  async function follow(task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (failure) {
      halt((failure as Failure).message);
    }
  }

  /** One tab works on a sweep at a time. */
  async function goOn(sweep: Sweep): Promise<void> {
    if (get().running) return;
    set({ shown: sweep, running: true, problem: undefined });
    const held = await lock(LOCK + sweep.id);
    if (!held) return halt('Another tab of this page works on this sweep.');
    release = held;
    await follow(advance);
  }

  useRun.subscribe((state, before) => {
    const { shown, running } = get();
    if (!shown || replacing) return;
    const id = state.run?.source === 'live' ? state.run.id : undefined;
    const run = shown.runs.find((other) => other.id === id);
    if (!run) {
      // Somebody reset it, or started something else.
      if (running && id !== before.run?.id) halt();
      return;
    }
    if (state.phase === before.phase || run.outcome) return;
    if (state.phase === 'lost' && running) return halt('The GPU was lost.');
    if (state.phase !== 'finished' && state.phase !== 'failed') return;
    const { failure } = state;
    // A run that cannot go on can be mended, and what stops all runs is no outcome of this one.
    if (failure && (failure.operation === 'continue the run' || FOR_ALL.includes(failure.kind)))
      return running ? halt(failure.message) : undefined;
    const sweep = withOutcome(shown, run.id, outcomeOf(state));
    set({ shown: sweep });
    void follow(running ? advance : async () => void (await keep(sweep)));
  });

  return {
    running: false,
    axes: [],
    setAxes: (axes) => set({ axes }),
    goOn: (sweep) => void goOn(sweep),

    stop() {
      halt();
      const { phase, pause, reset } = useRun.getState();
      if (phase === 'running') pause();
      else if (phase === 'loading') reset();
    },

    close: () => set({ shown: undefined, problem: undefined }),
  };
});

function outcomeOf({ run, failure, trainedMilliseconds }: RunState): Outcome {
  const last = run?.history.evaluations.at(-1);
  const outcome: Outcome = {
    step: run?.history.lastStep ?? 0,
    perplexity: last?.studentPerplexity,
    teacherPerplexity: last?.teacherPerplexity,
    kl: last?.kl,
    agreement: last?.agreement,
    seconds: trainedMilliseconds / 1000,
  };
  return failure ? { ...outcome, problem: failure.message } : outcome;
}

/** All runs of a sweep read the same text. */
function textsProblem({ texts }: Sweep, corpus: UserCorpus | undefined): string | undefined {
  const chosen = textsOf(corpus);
  if (texts?.join('\n') === chosen?.join('\n')) return undefined;
  return texts
    ? `This sweep reads your own files, ${texts.join(', ')}. Choose them under Data first.`
    : 'This sweep reads a built-in text. Remove your own files under Data first.';
}

export const textsOf = (corpus: UserCorpus | undefined): string[] | undefined =>
  corpus?.files.map(({ name }) => name);

/** Undefined if another tab holds it. Browsers without locks have no tabs to guard against. */
function lock(name: string): Promise<(() => void) | undefined> {
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, { ifAvailable: true }, (held) => {
        if (!held) return resolve(undefined);
        return new Promise<void>((letGo) => resolve(letGo));
      })
      .catch(reject);
  });
}

/** The newest sweep, if it can go on in this tab. */
export function unfinished({ sweeps, rows }: KeptRuns): Sweep | undefined {
  const [newest] = sweeps;
  const isOpen = newest?.runs.some(({ id }) => rows.some((row) => row.id === id && row.open));
  const sweep = newest && !isOpen ? settled(newest, rows) : undefined;
  return sweep && !isDone(sweep) ? sweep : undefined;
}
