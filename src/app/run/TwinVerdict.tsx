// Under the charts' options: what the difference between the run and its twin came to, over all
// seeds that were tried, and what equal time instead of equal steps would be.

import { twinStep } from '../../config';
import { newRunId } from '../../runs/names';
import { gainOverSeeds } from '../../runs/twin-seeds';
import { equalTimePace, paceSentence, twinSentence } from '../../twin-worth';
import { listed, useRuns } from '../runs/store';
import { useRun } from './store';
import { useShownRun } from './use-shown-run';

export function TwinVerdict() {
  const run = useShownRun();
  const finished = useRun((state) => state.phase === 'finished');
  const kept = useRuns((state) => state.kept);
  if (!run?.twin) return null;
  const { config } = run;
  const twin = run.twin.evaluations.at(-1);
  const first = run.history.evaluations.findLast(
    ({ step }) => twinStep(config, step) === twin?.step,
  );
  const rows = listed(kept);
  const row = finished && rows.find(({ id }) => id === run.id);
  const over = row ? gainOverSeeds(row, rows) : undefined;
  const sentence =
    twin && twin.step > 0 ? twinSentence(config, first, twin, over) : 'The twin trains in turn.';
  const pace = finished ? equalTimePace(config, twin?.equalTimePace) : undefined;
  return (
    <div className="twin-verdict">
      <p data-testid="twin-verdict">
        {sentence ?? 'The twin cannot be compared yet: an evaluation has no valid tokens.'}
      </p>
      {pace !== undefined && (
        <p>
          {paceSentence(config, twin?.equalTimePace)}{' '}
          <button
            type="button"
            className="quiet outlined"
            onClick={() => useRun.getState().startAs(newRunId(), { ...config, twin_pace: pace })}
          >
            Run again with equal time
          </button>
        </p>
      )}
    </div>
  );
}
