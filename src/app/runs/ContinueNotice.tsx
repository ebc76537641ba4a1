// Offers the newest unfinished run when no run is active: after a closed tab, a killed browser, or
// a reset.

import { useRun } from '../run/store';
import { Notice } from '../shared/Notice';
import { canContinue, continueRun, listed, useRuns } from './store';

export function ContinueNotice() {
  const idle = useRun((state) => state.phase === 'idle' && !state.unavailable);
  const kept = useRuns((state) => state.kept);
  const declined = useRuns((state) => state.declined);
  const decline = useRuns((state) => state.decline);
  const row = listed(kept).find(canContinue);
  if (!idle || !row || declined.has(row.id)) return null;
  const { id, name, checkpoint, config } = row;
  return (
    <Notice
      kind="note"
      title={`Your run “${name}” is at step ${checkpoint} of ${config.train_steps}.`}
      onDismiss={() => decline(id)}
    >
      <button type="button" className="quiet" onClick={() => continueRun(row)}>
        Continue from step {checkpoint}
      </button>{' '}
      <a href="#runs">All runs</a>
    </Notice>
  );
}
