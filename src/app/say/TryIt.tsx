// The box in which people try the result: type, and both models answer. Its content loads when it
// is first opened.

import { Suspense } from 'react';
import { useRun } from '../run/store';
import { Fold, useFolds } from '../shared/Fold';
import { lazyPanel } from '../shared/LazyFold';
import { answersAlone } from './texts';

const SayPanel = lazyPanel(() => import('./SayPanel'));

/** The drawer's title. */
export const TRY_IT = 'Try it';

export function TryIt() {
  const live = useRun((state) => state.run?.source === 'live');
  const alone = useRun((state) => answersAlone(state.run?.report));
  const open = useFolds((folds) => folds[TRY_IT]);
  if (!live) return null;
  return (
    <Fold
      title={TRY_IT}
      aside={<span className="fold-value">ask the student{alone ? '' : ' and the teacher'}</span>}
    >
      {open && (
        <Suspense fallback={<p className="help">Loading.</p>}>
          <SayPanel />
        </Suspense>
      )}
    </Fold>
  );
}
