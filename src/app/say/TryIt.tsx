// The box in which people try the result: type, and both models answer. Its content loads when it
// is first opened.

import { lazy, Suspense } from 'react';
import { useRun } from '../run/store';
import { Fold, useFolds } from '../shared/Fold';

const SayPanel = lazy(() => import('./SayPanel').catch(() => ({ default: NotLoaded })));

/** The drawer's title. */
export const TRY_IT = 'Try it';

export function TryIt() {
  const live = useRun((state) => state.run?.source === 'live');
  const open = useFolds((folds) => folds[TRY_IT]);
  if (!live) return null;
  return (
    <Fold
      title={TRY_IT}
      aside={<span className="fold-value">ask the student and the teacher</span>}
    >
      {open && (
        <Suspense fallback={<p className="help">Loading.</p>}>
          <SayPanel />
        </Suspense>
      )}
    </Fold>
  );
}

function NotLoaded() {
  return (
    <p className="field-problem" role="alert">
      This box did not load. Check the connection, then reload the page.
    </p>
  );
}
