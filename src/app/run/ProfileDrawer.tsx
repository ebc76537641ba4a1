// The drawer “Where a step goes”.

import { LazyFold, lazyPanel } from '../shared/LazyFold';

const ProfilePanel = lazyPanel(() => import('./ProfilePanel'));

export function ProfileDrawer() {
  return (
    <LazyFold title="Where a step goes">
      <ProfilePanel />
    </LazyFold>
  );
}
