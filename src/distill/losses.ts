// The table of losses. Adding one is a kernel, a reference function and a row here; config.ts lists its name.

import type { Config } from '../config';
import type { Recorder, Tensor } from '../gpu/program';
import { ce, type LossInputs, mixed } from '../kernels/losses';

interface Loss {
  needsTeacher: boolean;
  /** Records the loss and its gradient. */
  record(recorder: Recorder, inputs: LossInputs, teacher: Tensor | undefined): void;
  /** What was minimised, from the token means of CE and KL (without T²). */
  total(ce: number, kd: number, live: { alpha: number; temperature: number }): number;
}

export const LOSSES: Record<Config['loss'], Loss> = {
  mixed: {
    needsTeacher: true,
    record(recorder, inputs, teacher) {
      if (!teacher) throw new Error('The loss "mixed" needs a teacher. Choose one, or the loss "ce".');
      mixed(recorder, { ...inputs, teacher });
    },
    total: (ce, kd, { alpha, temperature }) => alpha * temperature ** 2 * kd + (1 - alpha) * ce,
  },
  ce: {
    needsTeacher: false,
    record: (recorder, inputs) => ce(recorder, inputs),
    total: (ce) => ce,
  },
};
