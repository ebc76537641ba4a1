// How the charts show runs: what lies along the axis, how much is smoothed, and which runs are
// drawn behind the current one. It changes no measurement, so it is not in the run's state.

import { create } from 'zustand';
import type { ComparedRun } from './compare';
import type { XName } from './history';
import { SMOOTHING } from './history';
import { assignSlots, type Slots } from './line-style';

/** What of the compared runs the loss chart draws. */
export type ComparedLoss = 'loss' | 'ce' | 'kd';

interface ChartView {
  x: XName;
  logX: boolean;
  /** Weight of the past in smoothed curves, 0 to 0.99. */
  smoothing: number;
  /** Undefined: the total if all runs minimise the same, else CE. */
  loss?: ComparedLoss;
  /** Runs to compare with that the page itself does not remember, such as those of the table. */
  others: readonly ComparedRun[];
  /** Choices of a person, by run; other runs are shown if they are among the latest. */
  chosen: Readonly<Record<string, boolean>>;
  slots: Slots;
  set(change: Partial<Pick<ChartView, 'x' | 'logX' | 'smoothing' | 'loss' | 'others'>>): void;
  choose(id: string, shown: boolean): void;
  /** Gives each of these runs a place in the table of colours and dashes, for good. */
  place(ids: readonly string[]): void;
}

export const useChartView = create<ChartView>()((set, get) => ({
  x: 'step',
  logX: false,
  others: [],
  smoothing: SMOOTHING,
  chosen: {},
  slots: {},
  set: (change) => set(change),
  choose: (id, shown) => set({ chosen: { ...get().chosen, [id]: shown } }),
  place(ids) {
    const slots = assignSlots(get().slots, ids);
    if (slots !== get().slots) set({ slots });
  },
}));
