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

export const sweeps = (run: string) => ({
  planned: { axes: [{ name: 'student_lr', text: '0.003, 0.006, 0.012' }] } satisfies Swept,
  running: { running: true, shown: sweepOf(['run-1', run, 'run-3'], [FIRST]) } satisfies Swept,
  stopped: {
    shown: sweepOf(['run-1', run, 'run-3'], [FIRST]),
    problem: 'Another tab of this page works on this sweep.',
  } satisfies Swept,
  done: {
    shown: sweepOf(
      ['run-1', 'run-3', run],
      [FIRST, ended(122.7, 0.86, 0.48), { ...ended(NaN, 0, 0), problem: 'The GPU was lost.' }],
    ),
  } satisfies Swept,
});
