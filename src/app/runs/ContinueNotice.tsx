// Offers the newest unfinished run when no run is active: after a closed tab, a killed browser, or
// a reset.

import { fieldsInWords } from '../../runs/sweep-result';
import { useRun } from '../run/store';
import { plural } from '../shared/format';
import { Notice } from '../shared/Notice';
import { unfinished, useSweep } from '../sweep/store';
import { canContinue, continueRun, listed, useRuns } from './store';

export function ContinueNotice() {
  const idle = useRun((state) => state.phase === 'idle' && !state.unavailable);
  const kept = useRuns((state) => state.kept);
  const declined = useRuns((state) => state.declined);
  const decline = useRuns((state) => state.decline);
  const hasSweep = useSweep(({ shown }) => shown !== undefined);
  const sweep = kept && !hasSweep ? unfinished(kept) : undefined;
  if (idle && sweep && !declined.has(sweep.id)) {
    const ended = sweep.runs.filter(({ outcome }) => outcome).length;
    return (
      <Notice
        kind="note"
        title={
          `Your sweep of ${fieldsInWords(sweep.fields)} has ${ended} of ` +
          `${plural(sweep.runs.length, 'run')} done.`
        }
        onDismiss={() => decline(sweep.id)}
      >
        <button type="button" className="secondary" onClick={() => useSweep.getState().goOn(sweep)}>
          Continue the sweep
        </button>{' '}
        <a href="#runs">All runs</a>
      </Notice>
    );
  }
  const row = listed(kept).find(canContinue);
  if (!idle || !row || declined.has(row.id)) return null;
  const { id, name, checkpoint, config } = row;
  return (
    <Notice
      kind="note"
      title={`Your run “${name}” is at step ${checkpoint} of ${config.train_steps}.`}
      onDismiss={() => decline(id)}
    >
      <button type="button" className="secondary" onClick={() => continueRun(row)}>
        Continue from step {checkpoint}
      </button>{' '}
      <a href="#runs">All runs</a>
    </Notice>
  );
}
