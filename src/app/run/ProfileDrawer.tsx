// The drawer “Where a step goes”. Its content loads when it is first opened.

import { lazy, Suspense, useState } from 'react';
import { Fold, useFolds } from '../shared/Fold';

const ProfilePanel = lazy(() => import('./ProfilePanel').catch(() => ({ default: NotLoaded })));

const TITLE = 'Where a step goes';

export function ProfileDrawer() {
  const [opened, setOpened] = useState(false);
  const open = useFolds((folds) => folds[TITLE] ?? false);
  if (open && !opened) setOpened(true);
  return (
    <Fold title={TITLE}>
      {opened && (
        <Suspense fallback={<p className="help">Loading.</p>}>
          <ProfilePanel />
        </Suspense>
      )}
    </Fold>
  );
}

function NotLoaded() {
  return (
    <p className="field-problem" role="alert">
      This panel did not load. Check the connection, then reload the page.
    </p>
  );
}
