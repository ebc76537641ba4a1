// The button that runs an experiment, how far it is, and why it cannot run where it cannot.

import { useRun } from '../run/store';
import { Icon } from '../shared/Icon';
import type { LabRun } from './store';
import { COLUMNS, useBug } from './store';

export function RunBar({ label }: { label: string }) {
  const card = useBug((state) => state.card);
  const run = useBug((state) => state.runs[state.card]);
  const current = useBug((state) => state.current);
  const stopping = useBug((state) => state.stopping);
  const { run: start, stop } = useBug.getState();
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
      {run?.state === 'stopped' && <p className="help">Stopped before every column was done.</p>}
      {run?.failure && (
        <p className="field-problem" role="alert">
          Could not {run.failure.operation}. {run.failure.message} {run.failure.hint}
        </p>
      )}
    </div>
  );
}

/** Why no experiment can start now. */
function useObstacle(): string | undefined {
  const phase = useRun((state) => state.phase);
  const unavailable = useRun((state) => state.unavailable);
  const card = useBug((state) => state.card);
  const current = useBug((state) => state.current);
  if (unavailable)
    return `No experiment can run on this machine. ${unavailable.message} ${unavailable.hint ?? ''}`;
  if (phase === 'loading' || phase === 'running') {
    const doing = phase === 'loading' ? 'loading' : 'training';
    return `A run is ${doing} in Distil, and the GPU is busy with it. Pause or reset it there first.`;
  }
  if (current && current !== card)
    return 'Another experiment is going on. Wait for it, or stop it on its card.';
  return undefined;
}

/** The columns advance side by side. Which one is which is not told: it may be the question. */
function Progress({ run }: { run: LabRun }) {
  const all = COLUMNS[run.experiment.kind];
  const step = Math.max(0, ...all.map((column) => run.columns[column]?.attempts.at(-1)?.step ?? 0));
  return (
    <p className="help">
      {run.state === 'loading' ? run.detail : `Step ${step} of ${all.length} columns side by side.`}
    </p>
  );
}

/** Said above results whose switches have changed since. */
export function useIsStale(experiment: object): boolean {
  const run = useBug((state) => state.runs[state.card]);
  return run !== undefined && JSON.stringify(run.experiment) !== JSON.stringify(experiment);
}
