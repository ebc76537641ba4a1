// The designed states of keeping a run: it is offered again, or it cannot be kept or continued.

import { DEFAULTS } from '../../config';
import type { RunRow } from '../../runs/row';
import type { Failure, KeptRuns, RunEvent } from '../../worker/protocol';
import { ADAPTER, stepsBetween } from './measurements';

const ROW: RunRow = {
  id: '20261125-093000-f4k2qa',
  name: 'amber heron',
  label: {},
  time: '2026-11-25T09:30:00Z',
  config: DEFAULTS,
  state: 'stopped',
  open: false,
  step: 126,
  checkpoint: 120,
  bytes: 9_400_000,
  spareBytes: 4_600_000,
  perplexity: 161,
  kl: 1.3,
  agreement: 0.41,
  seconds: 26,
  tokensPerSecond: 4960,
  adapter: ADAPTER.name,
  dtype: 'f16',
  data: 'corpus/moby-dick.txt',
  own: false,
  curve: stepsBetween(0, 126).map(({ loss }) => loss),
};
const KEPT: KeptRuns = {
  rows: [ROW],
  sweeps: [],
  lasting: true,
  persisted: false,
  bytes: ROW.bytes,
  budget: 1e9,
};

const NONE: KeptRuns = { ...KEPT, rows: [], bytes: 0, lasting: false };

/** Notices of a page whose current run is `runId`. */
export function keptNotices(runId: string) {
  const refused = (message: string, hint?: string): RunEvent => {
    const failure: Failure = { operation: 'continue the run', message, hint, kind: 'limits' };
    return { type: 'failed', runId, failure };
  };
  const full: RunEvent = {
    type: 'unkept',
    runId,
    failure: {
      operation: 'keep the run',
      message:
        'The browser’s storage for this page is full: checkpoint-140.bin needs 4,644,352 bytes ' +
        'more.',
      hint: 'Delete runs, or free space on this machine.',
      kind: 'limits',
    },
  };
  return {
    offer: { title: 'an earlier run to continue', scenes: ['idle'], messages: [], kept: KEPT },
    'storage-full': {
      title: 'a full storage',
      scenes: ['running', 'paused', 'finished'],
      messages: [full],
    },
    'no-storage': {
      title: 'no private storage',
      scenes: ['running', 'finished'],
      messages: [],
      kept: NONE,
    },
    'open-elsewhere': {
      title: 'the run is open in another tab',
      scenes: ['loading'],
      messages: [
        refused(
          'Another tab of this page has “amber heron” open.',
          'Close the other tab, then try again.',
        ),
      ],
    },
    'from-later': {
      title: 'a later version wrote the checkpoint',
      scenes: ['loading'],
      messages: [
        refused(
          'checkpoint-120.bin has version 3; this Stillhouse reads versions up to 2. Resume with ' +
            'the version that wrote it.',
        ),
      ],
    },
  } as const;
}
