// The run that the page shows, for components that read its history: they draw again at each
// commit.

import type { ShownRun } from './shown-run';
import { useRun } from './store';

export function useShownRun(): ShownRun | undefined {
  useRun((state) => state.commits);
  return useRun((state) => state.run);
}
