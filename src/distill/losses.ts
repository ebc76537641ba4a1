// The table of losses. Adding a divergence is its kernel, a reference function, a row here and its
// name in config.ts.

import type { Config } from '../config';
import type { Recorder, Tensor } from '../gpu/program';
import { ce, type Divergence, distil, distilTopK, type LossInputs } from '../kernels/losses';
import type { Entries, TopK } from '../kernels/topk';
import { CacheError } from './teacher/cache-file';

/** What a loss is made of, besides the logits. */
export type LossSettings = Pick<
  Config,
  'loss' | 'kd_loss' | 'kd_beta' | 'label_smoothing' | 'z_loss'
>;

interface Loss {
  /**
   * How the student is drawn to the teacher; absent where it is not. `kd_loss` leaves it to that
   * setting.
   */
  divergence?: Divergence | 'kd_loss';
  /** The teacher's weight in the total, T² · KD; the rest of 1 goes to CE. */
  weight(alpha: number): number;
}

const alone = (divergence: Divergence): Loss => ({ divergence, weight: () => 1 });

export const LOSSES: Record<Config['loss'], Loss> = {
  mixed: { divergence: 'kd_loss', weight: (alpha) => alpha },
  ce: { weight: () => 0 },
  fkl: alone('fkl'),
  rkl: alone('rkl'),
  jsd: alone('jsd'),
  sfkl: alone('sfkl'),
  srkl: alone('srkl'),
  tvd: alone('tvd'),
};

export const needsTeacher = (loss: Config['loss']): boolean =>
  LOSSES[loss].divergence !== undefined;

/** How this loss draws the student to its teacher; undefined where it does not. */
const divergenceOf = ({
  loss,
  kd_loss,
}: Pick<LossSettings, 'loss' | 'kd_loss'>): Divergence | undefined => {
  const { divergence } = LOSSES[loss];
  return divergence === 'kd_loss' ? kd_loss : divergence;
};

/** Throws a CacheError unless this loss can be had from k words and the rest. */
export function requireEntriesServe(
  settings: Pick<LossSettings, 'loss' | 'kd_loss'>,
  { V, k }: TopK,
): void {
  const divergence = divergenceOf(settings);
  if (!divergence || divergence === 'fkl' || k === V) return;
  throw new CacheError(
    'refused',
    `A cache of ${k} of ${V} words serves forward KL, fkl; this run’s loss is ${divergence}. ` +
      'Use fkl, or cache_top_k=0, which keeps all words and serves every loss.',
  );
}

/**
 * Records the loss and its gradient. @throws if it needs a teacher and there is none, or one of
 * whom too little was kept.
 */
export function recordLoss(
  recorder: Recorder,
  settings: LossSettings,
  inputs: LossInputs,
  teacher?: Tensor | Entries,
): void {
  const { loss, kd_beta: beta, label_smoothing: labelSmoothing, z_loss: zLoss } = settings;
  const divergence = divergenceOf(settings);
  const options = { ...inputs, labelSmoothing, zLoss };
  if (!divergence) {
    ce(recorder, options);
    return;
  }
  if (!teacher)
    throw new Error(`The loss "${loss}" needs a teacher. Choose one, or the loss "ce".`);
  if ('entries' in teacher) {
    requireEntriesServe(settings, teacher);
    distilTopK(recorder, { ...options, ...teacher });
    return;
  }
  distil(recorder, { ...options, teacher, divergence, beta });
}

/** What was minimised, from the token means of CE and KD (without T²). */
export function totalLoss(
  loss: Config['loss'],
  ce: number,
  kd: number,
  live: { alpha: number; temperature: number },
): number {
  const weight = LOSSES[loss].weight(live.alpha);
  return (
    (weight > 0 ? weight * live.temperature ** 2 * kd : 0) + (weight < 1 ? (1 - weight) * ce : 0)
  );
}
