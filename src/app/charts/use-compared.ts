// Which runs the charts can draw behind the current one, which of them they do, and the axis that
// all charts share.

import { useEffect, useMemo } from 'react';
import { type Config, twinConfig } from '../../config';
import { nameOf } from '../../runs/names';
import { awaitsRace } from '../run/ghost';
import { type ShownRun, sameStart } from '../run/shown-run';
import { useRun } from '../run/store';
import type { ComparedRun } from './compare';
import { sameLoss, twinId } from './compare';
import type { ComparedLoss } from './view';
import { useChartView } from './view';
import type { XView } from './x-axis';
import { xView } from './x-axis';

/** Of the earlier runs of a visit, so many are drawn without being asked for. */
const SHOWN_EARLIER = 3;
const RECORDING = 'recording';

export interface Candidate extends ComparedRun {
  shown: boolean;
}

const compared = ({ id, history, config }: ShownRun): ComparedRun => ({
  id,
  label: nameOf(id),
  history,
  config,
});

/** The second student of a run, as a run to compare with. */
function twinOf(run: ShownRun | undefined, label: string): ComparedRun[] {
  if (!run?.twin) return [];
  return [{ id: twinId(run.id), label, history: run.twin, config: twinConfig(run.config) }];
}

/** Every run that the current one can be compared with. */
export function useCandidates(): readonly Candidate[] {
  const run = useRun((state) => state.run);
  const config = useRun((state) => (state.run ?? state).config);
  const earlier = useRun((state) => state.earlier);
  const recording = useRun((state) => state.recording);
  const ghost = useRun((state) => state.ghost);
  const others = useChartView((view) => view.others);
  const chosen = useChartView((view) => view.chosen);
  const place = useChartView((view) => view.place);
  const candidates = useMemo(() => {
    const all: Candidate[] = [
      ...twinOf(run, 'twin').map((twin) => ({ ...twin, shown: true })),
      ...(ghost ? [{ ...ghost, shown: true }] : []),
      ...others.map((run) => ({ ...run, shown: true })),
      ...earlier.flatMap((run, index) => [
        { ...compared(run), shown: index < SHOWN_EARLIER },
        ...twinOf(run, `twin of ${nameOf(run.id)}`).map((twin) => ({ ...twin, shown: false })),
      ]),
    ];
    if (run?.source === 'live' && recording) {
      // Behind the first run from the same start the recording stays, and so do the axes; but a
      // ghost takes its place.
      const shown = earlier.length === 0 && !ghost && sameStart(config, recording.config);
      all.push({ ...compared(recording), id: RECORDING, label: RECORDING, shown });
    }
    return all.map((run) => ({ ...run, shown: chosen[run.id] ?? run.shown }));
  }, [run, config, earlier, recording, ghost, others, chosen]);
  // The oldest first, so that a run has the same colour whenever it is first seen.
  useEffect(() => place(candidates.map(({ id }) => id).reverse()), [candidates, place]);
  return candidates;
}

/** The runs to draw behind the current one. */
export function useComparedRuns(): readonly ComparedRun[] {
  const candidates = useCandidates();
  return useMemo(() => candidates.filter(({ shown }) => shown), [candidates]);
}

/** What the others are compared with: the run's settings, or the page's while a ghost waits. */
export const useOwnConfig = (): Config =>
  useRun((state) => (state.run && !awaitsRace(state) ? state.run : state).config);

/** The loss of the compared runs to draw: the total, if all of them minimise what this run does. */
export function useComparedLoss(): ComparedLoss {
  const compared = useComparedRuns();
  const chosen = useChartView((view) => view.loss);
  const config = useOwnConfig();
  return chosen ?? (compared.every((run) => sameLoss(config, run.config)) ? 'loss' : 'ce');
}

/** The horizontal axis of all charts. */
export function useXView(run: ShownRun, compared: readonly ComparedRun[]): XView {
  const { x, logX } = useChartView();
  const plan = { steps: run.config.train_steps, tokensPerStep: run.report?.tokensPerStep };
  const histories = compared.map(({ history }) => history);
  return xView(x, logX, run.history, plan, histories);
}
