// For a text that is too short for the context: one click to the context that fits.

import { isActive } from '../run/shown-run';
import { useRun } from '../run/store';
import { useData } from './store';

export function FitContext() {
  const longest = useData((state) => state.longestContext);
  const locked = useRun((state) => isActive(state.phase));
  const { fitContext } = useData.getState();
  if (longest === undefined || locked) return null;
  return (
    <button type="button" className="quiet outlined" onClick={fitContext}>
      Use a context of {longest}
    </button>
  );
}
