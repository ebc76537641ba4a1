// The step under the pointer, shared by all charts. It is not in the run's store, so that moving
// the pointer redraws no line.

import { create } from 'zustand';

export const usePointer = create<{ step?: number; point(step: number | undefined): void }>()(
  (set, get) => ({
    point: (step) => {
      if (get().step !== step) set({ step });
    },
  }),
);
