// Taking the student away: what is asked of the worker, how far it is, and the file that comes of
// it.

import { create } from 'zustand';
import type { ExportType, Failure, FromWorker, LossRow, RunStory } from '../../worker/protocol';
import { linkTo } from '../shared/address';
import { listen, send } from '../shared/client';
import type { ShownRun } from './shown-run';
import { useRun } from './store';

/** Rows of the model card's table of losses. */
const MOST_LOSSES = 25;

interface Taking {
  runId: string;
  /** Bytes of all files so far, of how many, and the file that is being written. */
  progress?: { file: string; written: number; total: number };
  /** The .zip under an address of the page's own; gone once another is made. */
  zip?: { name: string; bytes: number; url: string };
  failure?: Failure;
}

interface TakeStore {
  taking?: Taking;
  /** Asks for the shown run's student, which is saved once it is there. */
  take(dtype: ExportType): void;
}

export const useTake = create<TakeStore>()((set, get) => {
  const answer = (message: FromWorker) => {
    const { taking } = get();
    if (!taking || !('runId' in message) || message.runId !== taking.runId) return;
    const { runId } = taking;
    if (message.type === 'exporting') {
      const { file, written, total } = message;
      set({ taking: { runId, progress: { file, written, total } } });
    } else if (message.type === 'exported') {
      const zip = {
        name: `${message.name}.zip`,
        bytes: message.zip.size,
        url: URL.createObjectURL(message.zip),
      };
      set({ taking: { runId, zip } });
      save(zip);
    } else if (
      message.type === 'export-failed' ||
      (message.type === 'failed' && isWriting(taking))
    ) {
      set({ taking: { runId, failure: message.failure } });
    }
  };
  listen(answer);
  return {
    take(dtype) {
      const { run } = useRun.getState();
      if (run?.source !== 'live')
        throw new Error('There is no student to take: start a run first.');
      const before = get().taking?.zip;
      if (before) URL.revokeObjectURL(before.url);
      set({ taking: { runId: run.id } });
      send({ type: 'export', runId: run.id, dtype, story: storyOf(run) });
    },
  };
});

/** Asked for, and neither there nor failed yet. */
export function isWriting({ zip, failure }: Taking): boolean {
  return !zip && !failure;
}

/** What the model card tells of the run. */
function storyOf({ config, history, marks }: ShownRun): RunStory {
  const rows = Math.min(MOST_LOSSES, history.length);
  const losses = Array.from({ length: rows }, (_, i): LossRow => {
    const { step, loss, ce, kd, learningRate } = history.at(
      Math.round(((i + 1) * history.length) / rows) - 1,
    );
    return { step, loss, ce, kd, learningRate };
  });
  return { link: linkTo(config), evaluations: history.evaluations, losses, changes: marks };
}

function save({ name, url }: { name: string; url: string }): void {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
}
