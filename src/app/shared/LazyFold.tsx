// A drawer whose content loads when it is first opened, and then stays.

import { type ComponentType, lazy, type ReactNode, Suspense, useState } from 'react';
import { Fold, useFolds } from './Fold';

/** A panel in a file of its own; one that does not load says so. */
export const lazyPanel = <Props extends object>(
  load: () => Promise<{ default: ComponentType<Props> }>,
) => lazy(() => load().catch(() => ({ default: NotLoaded as ComponentType<Props> })));

/** @param children made by `lazyPanel` */
export function LazyFold({ title, children }: { title: string; children: ReactNode }) {
  const [opened, setOpened] = useState(false);
  const open = useFolds((folds) => folds[title] ?? false);
  if (open && !opened) setOpened(true);
  return (
    <Fold title={title}>
      {opened && <Suspense fallback={<p className="help">Loading.</p>}>{children}</Suspense>}
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
