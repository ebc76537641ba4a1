// A drawer that folds away. It opens into view, and stays open when the window's width rearranges
// the page.

import type { ReactNode, ToggleEvent } from 'react';
import { create } from 'zustand';

/** The drawers that are open, by title. */
export const useFolds = create<Record<string, boolean>>()(() => ({}));

export function Fold({
  title,
  aside,
  forced = false,
  atFirst = false,
  children,
}: {
  title: string;
  /** Beside the title: a value, a count. */
  aside?: ReactNode;
  /** Open without having been opened, because something inside needs attention. */
  forced?: boolean;
  /** Open until somebody closes it. */
  atFirst?: boolean;
  children: ReactNode;
}) {
  const open = useFolds((folds) => folds[title] ?? atFirst);
  const onToggle = ({ currentTarget }: ToggleEvent<HTMLDetailsElement>) => {
    // A drawer that is open when it is put on the page reports that, too.
    const opened = currentTarget.open && !open && !forced;
    useFolds.setState({ [title]: currentTarget.open });
    if (opened) currentTarget.scrollIntoView({ block: 'nearest' });
  };
  return (
    <details className="fold" open={open || forced || undefined} onToggle={onToggle}>
      <summary>
        <span>{title}</span>
        {aside}
      </summary>
      {children}
    </details>
  );
}
