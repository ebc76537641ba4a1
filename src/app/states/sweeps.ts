// Sweeps in the designed states: planned, running, stopped and done.

import { DEFAULTS } from '../../config';
import type { Outcome, Sweep } from '../../runs/sweep';
import type { useSweep } from '../sweep/store';

export type Swept = Partial<
  Pick<ReturnType<typeof useSweep.getState>, 'shown' | 'running' | 'problem' | 'axes'>
>;

const ended = (perplexity: number, kl: number, agreement: number): Outcome => ({
  step: DEFAULTS.train_steps,
  perplexity,
  kl,
  agreement,
  seconds: 95,
});

/** A sweep of three, of which `run` is the second or, once it is done, the last. */
function sweepOf(ids: readonly string[], outcomes: readonly Outcome[]): Sweep {
  return {
    id: '20261126-150412-x7k2qa',
    time: '2026-11-26T15:04:12Z',
    fields: ['student_lr'],
    runs: [0.003, 0.006, 0.012].map((student_lr, i) => ({
      id: ids[i],
      config: { ...DEFAULTS, student_lr },
      ...(outcomes[i] && { outcome: outcomes[i] }),
    })),
  };
}

const FIRST = ended(146.2, 0.98, 0.44);

/** Notices, each with the scene that it stands in. `run` is the scenes' own. */
export const sweepNotices = (run: string) =>
  ({
    'sweep-planned': {
      title: 'a sweep is planned',
      scenes: ['idle'],
      messages: [],
      sweep: { axes: [{ name: 'student_lr', text: '0.003, 0.006, 0.012' }] },
    },
    sweep: {
      title: 'a sweep',
      scenes: ['running'],
      messages: [],
      sweep: { running: true, shown: sweepOf(['run-1', run, 'run-3'], [FIRST]) },
    },
    'sweep-stopped': {
      title: 'a sweep that was stopped',
      scenes: ['paused'],
      messages: [],
      sweep: {
        shown: sweepOf(['run-1', run, 'run-3'], [FIRST]),
        problem: 'Another tab of this page works on this sweep.',
      },
    },
    'sweep-done': {
      title: 'a sweep is done',
      scenes: ['finished'],
      messages: [],
      sweep: {
        shown: sweepOf(
          ['run-1', 'run-3', run],
          [FIRST, ended(122.7, 0.86, 0.48), { step: 9, seconds: 5, problem: 'The GPU was lost.' }],
        ),
      },
    },
  }) as const satisfies Record<string, { sweep: Swept } & Record<string, unknown>>;
