// The drawer “Where a step goes”. Its content loads when it is first opened.

import { lazy, Suspense, useState } from 'react';

const ProfilePanel = lazy(() => import('./ProfilePanel').catch(() => ({ default: NotLoaded })));

export function ProfileDrawer() {
  const [opened, setOpened] = useState(false);
  return (
    <details
      className="fold"
      onToggle={({ currentTarget }) => setOpened(opened || currentTarget.open)}
    >
      <summary>Where a step goes</summary>
      {opened && (
        <Suspense fallback={<p className="help">Loading.</p>}>
          <ProfilePanel />
        </Suspense>
      )}
    </details>
  );
}

function NotLoaded() {
  return (
    <p className="field-problem" role="alert">
      This panel did not load. Check the connection, then reload the page.
    </p>
  );
}
