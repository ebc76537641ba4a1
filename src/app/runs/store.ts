// The page's view of the kept runs. The worker has them; each answer replaces the list as a whole.

import { create } from 'zustand';
import type { Label, RunRow } from '../../runs/row';
import type { Failure, KeptRuns } from '../../worker/protocol';
import { useRun } from '../run/store';
import { onRunEvent, request } from '../shared/client';
import { labHash } from '../shared/rooms';

interface RunsStore {
  /** Undefined until the worker has answered. */
  kept?: KeptRuns;
  failure?: Failure;
  /** The file that could not be opened, by its name. */
  refused?: { name: string; why: string };
  /** Runs of this visit, and those that were offered and declined: they are not offered. */
  declined: ReadonlySet<string>;
  /** The visitor has read that runs last until the tab is closed. */
  warned: boolean;
  /** The run that was deleted last; it can be brought back. */
  deleted?: RunRow;

  refresh(): void;
  label(id: string, label: Label): void;
  remove(row: RunRow): void;
  bringBack(): void;
  setBudget(bytes: number): void;
  decline(id: string): void;
  dismissWarning(): void;
  /** Takes in a run's file. Resolves with its id, or undefined if it is none. */
  open(file: File): Promise<string | undefined>;
  /** The run as one file. @throws Failure */
  save(id: string): Promise<{ name: string; zip: Blob }>;
}

export const useRuns = create<RunsStore>()((set, get) => {
  const follow = (answer: Promise<KeptRuns>) =>
    void answer.then(
      (kept) => set({ kept, failure: undefined }),
      (failure: Failure) => set({ failure }),
    );

  onRunEvent((event) => {
    if (event.type !== 'kept') return;
    get().decline(event.runId);
    get().refresh();
  });

  return {
    declined: new Set(),
    warned: false,

    refresh: () => follow(request('runs', {})),

    label: (runId, label) => follow(request('label-run', { runId, label })),

    remove(row) {
      set({ deleted: row });
      get().label(row.id, { deleted: new Date().toISOString() });
    },

    bringBack() {
      const { deleted } = get();
      set({ deleted: undefined });
      if (deleted) get().label(deleted.id, { deleted: undefined });
    },

    setBudget: (budget) => follow(request('keep-runs', { budget })),

    decline: (id) => set({ declined: new Set([...get().declined, id]) }),

    dismissWarning: () => set({ warned: true }),

    async open(file) {
      try {
        const id = await request('open-run', { name: file.name, zip: file });
        get().refresh();
        set({ refused: undefined });
        return id;
      } catch (failure) {
        const { message, hint } = failure as Failure;
        set({ refused: { name: file.name, why: hint ? `${message} ${hint}` : message } });
        return undefined;
      }
    },

    save: (runId) => request('save-run', { runId }),
  };
});

/** Takes in a run's file and shows the run in the table. */
export async function openRunFile(file: File): Promise<void> {
  const id = await useRuns.getState().open(file);
  if (id) location.hash = labHash('runs', id);
}

/** Whether a run's last state can be opened in this tab. */
export const canOpen = ({ checkpoint, open, state }: RunRow): boolean =>
  checkpoint !== undefined && !open && state !== 'unreadable';

/** Whether it then has steps to go. */
export const canContinue = (row: RunRow): boolean => canOpen(row) && row.state === 'stopped';

/** The rows to list: those deleted are on their way out. */
export const listed = (kept: KeptRuns | undefined): RunRow[] =>
  (kept?.rows ?? []).filter(({ label }) => label.deleted === undefined);

/** Continues a kept run, and asks the browser not to clear what is kept: now it matters. */
export function continueRun(row: RunRow): void {
  useRun.getState().continueRun(row, useRun.getState().corpus);
  void navigator.storage?.persist?.();
}
