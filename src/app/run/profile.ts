// Measuring where a step goes: what is asked of the worker, and the report that comes back.

import { create } from 'zustand';
import type { Failure, FromWorker, ProfileReport } from '../../worker/protocol';
import { listen, send } from '../shared/client';
import { useRun } from './store';

/** Of one run. Neither a report nor a failure: it is being measured. */
interface Measuring {
  runId: string;
  report?: ProfileReport;
  /** The report as a table to copy. */
  text?: string;
  failure?: Failure;
}

interface ProfileStore {
  measuring?: Measuring;
  /** Asks for the shown run's step. */
  measure(): void;
}

export const useProfile = create<ProfileStore>()((set, get) => {
  const answer = (message: FromWorker) => {
    const { measuring } = get();
    if (!measuring || !('runId' in message) || message.runId !== measuring.runId) return;
    const { runId, report, failure } = measuring;
    const going = !report && !failure;
    if (message.type === 'profiled')
      set({ measuring: { runId, report: message.report, text: message.text } });
    else if (message.type === 'profile-failed' || (message.type === 'failed' && going))
      set({ measuring: { runId, failure: message.failure } });
    else if (message.type === 'lost' && going) set({ measuring: undefined });
  };
  listen(answer);
  return {
    measure() {
      const { run } = useRun.getState();
      if (run?.source !== 'live')
        throw new Error('There is no step to measure: start a run first.');
      set({ measuring: { runId: run.id } });
      send({ type: 'profile', runId: run.id });
    },
  };
});
