// The sweep of this visit, above the charts: how far it is, Stop or Continue, and what came of it.

import { isDone, type Sweep, withoutFailures } from '../../runs/sweep';
import { fieldsInWords, secondsOf, valuesIn } from '../../runs/sweep-result';
import { useRun } from '../run/store';
import { listed, useRuns } from '../runs/store';
import { formatDuration } from '../shared/format';
import { SweepResult } from './SweepResult';
import { useSweep } from './store';
import './sweep.css';

export function SweepPanel() {
  const { shown, running: goesOn, problem, stop, goOn, close } = useSweep();
  if (!shown) return null;
  const failed = shown.runs.some(({ outcome }) => outcome?.problem !== undefined);
  const done = isDone(shown);
  const running = goesOn && !done;
  return (
    <section className="sweep-panel" aria-label="Sweep">
      <div className="sweep-head">
        <p>
          <span role="status">
            <strong>Sweep of {fieldsInWords(shown.fields)}</strong> <Progress sweep={shown} />
          </span>
          {running && <TimeLeft sweep={shown} />}
        </p>
        {running ? (
          <button type="button" className="secondary" onClick={stop}>
            Stop the sweep
          </button>
        ) : (
          <>
            {!done && (
              <button type="button" className="secondary" onClick={() => goOn(shown)}>
                Continue the sweep
              </button>
            )}
            {done && failed && (
              <button type="button" className="quiet" onClick={() => goOn(withoutFailures(shown))}>
                Run what failed again
              </button>
            )}
            <button type="button" className="quiet" onClick={close}>
              Close
            </button>
          </>
        )}
      </div>
      {problem && (
        <p className="field-problem" role="alert">
          {problem}
        </p>
      )}
      <SweepResult sweep={shown} />
    </section>
  );
}

/** "run 3 of 6: lr 0.003" */
function Progress({ sweep: { runs, fields } }: { sweep: Sweep }) {
  const running = useSweep((state) => state.running);
  const at = useCurrent(runs);
  const ended = runs.filter(({ outcome }) => outcome).length;
  if (ended === runs.length) return `${ended} of ${runs.length} done`;
  if (!running) return `stopped, ${ended} of ${runs.length} done`;
  return at < 0
    ? 'starting'
    : `run ${at + 1} of ${runs.length}: ${valuesIn(runs[at].config, fields)}`;
}

/** ", about 04:10 left". Apart from the progress, which is read out. */
function TimeLeft({ sweep: { runs } }: { sweep: Sweep }) {
  const kept = useRuns((state) => state.kept);
  const left = useRun((state) => state.status?.secondsLeft);
  const at = useCurrent(runs);
  const later = runs.slice(at + 1).filter(({ outcome }) => !outcome);
  const others = secondsOf(
    later.map(({ config }) => config),
    listed(kept),
  );
  if (at < 0 || left === undefined || others === undefined) return null;
  return `, about ${formatDuration(left + others)} left`;
}

/** The index of the run that the page shows; -1 if it is none of them. */
function useCurrent(runs: Sweep['runs']): number {
  const id = useRun((state) => state.run?.id);
  return runs.findIndex((run) => run.id === id);
}
