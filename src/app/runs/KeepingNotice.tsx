// Says that the current run is not kept, or only until the tab is closed.

import { useRun } from '../run/store';
import { Notice } from '../shared/Notice';
import { useRuns } from './store';

export function KeepingNotice() {
  const unkept = useRun((state) => state.unkept);
  const phase = useRun((state) => state.phase);
  const inMemory = useRuns((state) => state.kept?.lasting === false);
  const warned = useRuns((state) => state.warned);
  const { dismissWarning } = useRuns.getState();
  if (unkept) {
    return (
      <Notice kind="problem" title="This run is not kept at present.">
        <span className="failure-message">{unkept.message}</span> {unkept.hint}{' '}
        {phase === 'running' || phase === 'loading'
          ? 'Training goes on, and each evaluation tries again to keep all of it.'
          : 'While this tab is open, it is tried again every few seconds.'}{' '}
        <a href="#runs">All runs</a>
      </Notice>
    );
  }
  if (phase === 'idle' || !inMemory || warned) return null;
  return (
    <Notice kind="note" title="This run lasts until the tab is closed." onDismiss={dismissWarning}>
      The browser gives this page no storage, as in a private window. Save it as a file in{' '}
      <a href="#runs">Runs</a>.
    </Notice>
  );
}
