// Kept runs as lines behind the current one.

import { twinConfig } from '../../config';
import type { RunRow } from '../../runs/row';
import { comparedRun, twinId } from '../charts/compare';
import { useChartView } from '../charts/view';
import { useRun } from '../run/store';
import { request } from '../shared/client';

/**
 * Draws the run's curves behind the current one, or no longer.
 * @throws Failure if it cannot be read
 */
export async function draw(
  { id, name, config }: Pick<RunRow, 'id' | 'name' | 'config'>,
  shown: boolean,
): Promise<void> {
  const { others, set, choose } = useChartView.getState();
  const isEarlier = useRun.getState().earlier.some((run) => run.id === id);
  if (shown && !isEarlier && !others.some((run) => run.id === id)) {
    const journal = await request('run', { runId: id });
    set({ others: [...others, comparedRun(id, name, journal, config)] });
    const twin = twinConfig(config);
    if (twin && journal.twin.steps.length > 0) {
      // Offered beside the run, and drawn when it is asked for.
      const line = comparedRun(twinId(id), `twin of ${name}`, journal.twin, twin);
      set({ others: [...useChartView.getState().others, line] });
      choose(line.id, false);
    }
  }
  choose(id, shown);
}
