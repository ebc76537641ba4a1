// The place under the pointer on the charts' common horizontal axis: one crosshair over all charts.
// It is not in the run's store, so that moving the pointer redraws no line.

import { create } from 'zustand';

export const usePointer = create<{ x?: number; point(x: number | undefined): void }>()(
  (set, get) => ({
    point: (x) => {
      if (get().x !== x) set({ x });
    },
  }),
);
