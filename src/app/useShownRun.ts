// The run that the page shows, for components that read its history: they draw again at each commit.

import type { ShownRun } from './run';
import { useRun } from './store';

export function useShownRun(): { run: ShownRun | undefined; commits: number } {
  const run = useRun((state) => state.run);
  const commits = useRun((state) => state.commits);
  return { run, commits };
}
