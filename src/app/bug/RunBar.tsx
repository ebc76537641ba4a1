// The button that runs an experiment, its progress, and the reason when it cannot run.

import { useRun } from '../run/store';
import { Icon } from '../shared/Icon';
import { TITLES } from './settings';
import type { BugLabRun } from './store';
import { COLUMNS, useBugLab } from './store';

export function RunBar({ label }: { label: string }) {
  const card = useBugLab((state) => state.card);
  const run = useBugLab((state) => state.runs[state.card]);
  const current = useBugLab((state) => state.current);
  const stopping = useBugLab((state) => state.stopping);
  const { run: start, stop } = useBugLab.getState();
  const obstacle = useObstacle();
  const going = current === card;
  return (
    <div className="run-bar">
      {going ? (
        <button type="button" className="primary" onClick={stop} disabled={stopping}>
          <Icon name="stop" /> {stopping ? 'Stopping' : 'Stop'}
        </button>
      ) : (
        <button type="button" className="primary" onClick={start} disabled={obstacle !== undefined}>
          <Icon name="play" /> {run ? `${label} again` : label}
        </button>
      )}
      {going && run && <Progress run={run} />}
      {obstacle && !going && <p className="help">{obstacle}</p>}
      {run?.state === 'stopped' && (
        <p className="help">Stopped before every column had finished.</p>
      )}
      {run?.failure && (
        <p className="field-problem" role="alert">
          Could not {run.failure.operation}. {run.failure.message} {run.failure.hint}
        </p>
      )}
    </div>
  );
}

/** Why no experiment can start now; undefined if one can. */
function useObstacle(): string | undefined {
  const phase = useRun((state) => state.phase);
  const unavailable = useRun((state) => state.unavailable);
  const card = useBugLab((state) => state.card);
  const current = useBugLab((state) => state.current);
  if (unavailable) {
    const { message, hint = '' } = unavailable;
    return `No experiment can run on this machine. ${message} ${hint}`;
  }
  if (phase === 'loading' || phase === 'running') {
    const doing = phase === 'loading' ? 'loading' : 'training';
    return `The GPU is busy: a run is ${doing} in Distil. Pause or reset it there first.`;
  }
  if (current && current !== card)
    return `Another experiment is running: “${TITLES[current]}”. Wait for it, or stop it there.`;
  return undefined;
}

const NUMBERS: Record<number, string> = { 2: 'two', 3: 'three', 4: 'four' };

/** The columns take turns. They are not named here, because the card may ask which is which. */
function Progress({ run }: { run: BugLabRun }) {
  const columns = COLUMNS[run.experiment.kind].map((name) => run.columns[name]);
  const step = Math.max(0, ...columns.map((column) => column?.attempts.at(-1)?.step ?? 0));
  const total = Math.max(0, ...columns.map((column) => column?.totalSteps ?? 0));
  const progress = step === 0 ? 'Evaluating before the first step' : `Step ${step} of ${total}`;
  return (
    <p className="help">
      {run.state === 'loading'
        ? `Loading: ${run.detail}`
        : `${progress}, ${NUMBERS[columns.length]} runs in parallel`}
    </p>
  );
}

/** Whether the options have changed since the run. */
export function useIsStale(experiment: object): boolean {
  const run = useBugLab((state) => state.runs[state.card]);
  return run !== undefined && JSON.stringify(run.experiment) !== JSON.stringify(experiment);
}
