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
  const { shown, running, problem, stop, goOn, close } = useSweep();
  if (!shown) return null;
  const failed = shown.runs.some(({ outcome }) => outcome?.problem !== undefined);
  const done = isDone(shown);
  return (
    <section className="sweep-panel" aria-label="Sweep">
      <div className="sweep-head">
        <p role="status">
          <strong>Sweep of {fieldsInWords(shown.fields)}</strong> <Progress sweep={shown} />
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

/** "3 of 6: lr 0.003, about 04:10 left" */
function Progress({ sweep }: { sweep: Sweep }) {
  const running = useSweep((state) => state.running);
  const kept = useRuns((state) => state.kept);
  const id = useRun((state) => state.run?.id);
  const left = useRun((state) => state.status?.secondsLeft);
  const { runs, fields } = sweep;
  const ended = runs.filter(({ outcome }) => outcome).length;
  if (ended === runs.length) return `${ended} of ${runs.length} done`;
  if (!running) return `stopped, ${ended} of ${runs.length} done`;
  const at = runs.findIndex((run) => run.id === id);
  if (at < 0) return 'starting';
  const later = runs.slice(at + 1).filter(({ outcome }) => !outcome);
  const others = secondsOf(
    later.map(({ config }) => config),
    listed(kept),
  );
  const seconds = left === undefined || others === undefined ? undefined : left + others;
  const estimate = seconds === undefined ? '' : `, about ${formatDuration(seconds)} left`;
  return `run ${at + 1} of ${runs.length}: ${valuesIn(runs[at].config, fields)}${estimate}`;
}
