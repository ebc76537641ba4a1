// What the settings of a recipe ask for: which divergence, how much the teacher weighs, which
// kernel. The divergences themselves are a table, src/divergences.ts.

import type { Config } from '../config';
import { type AlignedLoss, DIVERGENCES, type Divergence } from '../divergences';
import type { Recorder, Tensor } from '../gpu/program';
import { ce, distil, distilTopK, type LossInputs } from '../kernels/losses';
import type { Entries, TopK } from '../kernels/topk';
import { CacheError } from './teacher/cache-file';

/** The settings that decide what is recorded; alpha and temperature may change in a run. */
export type LossSettings = Pick<
  Config,
  'loss' | 'kd_loss' | 'kd_beta' | 'label_smoothing' | 'z_loss'
>;

export const needsTeacher = (loss: Config['loss']): boolean => loss !== 'ce';

/** The weight of T² · KD in the total; CE has the rest of 1. */
export function teacherWeight(loss: Config['loss'], alpha: number): number {
  if (loss === 'ce') return 0;
  return loss === 'mixed' ? alpha : 1;
}

/** What is minimised of the teacher's; undefined for cross-entropy alone. */
function divergenceOf({
  loss,
  kd_loss,
}: Pick<LossSettings, 'loss' | 'kd_loss'>): Divergence | AlignedLoss | undefined {
  if (loss === 'ce') return undefined;
  return loss === 'mixed' ? kd_loss : loss;
}

/** @throws CacheError unless the loss can be computed from k tokens and the tail */
export function requireEntriesServe(
  settings: Pick<LossSettings, 'loss' | 'kd_loss'>,
  { V, k }: TopK,
): void {
  const divergence = divergenceOf(settings);
  if (!divergence || divergence === 'fkl' || k === V) return;
  throw new CacheError(
    'refused',
    `A cache of ${k} of ${V} tokens serves ${DIVERGENCES.fkl.label}, fkl; this run’s loss is ` +
      `${divergence}. Use fkl, or cache_top_k=0, which keeps every token and serves every loss.`,
  );
}

/**
 * Records the loss and its gradient against the teacher's logits, or against the entries of a
 * cache.
 * @throws if the loss needs a teacher and there is none
 * @throws CacheError if the entries hold too few tokens for it
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
  if (divergence === 'uld' || divergence === 'gold')
    throw new Error(`recordLoss: ${divergence} compares groups; see recordAlignedChunks.`);
  if ('entries' in teacher) {
    requireEntriesServe(settings, teacher);
    distilTopK(recorder, { ...options, ...teacher });
    return;
  }
  distil(recorder, { ...options, teacher, divergence, beta });
}

/** The total that a step minimised, from the means over tokens of CE and of KD without T². */
export function totalLoss(
  loss: Config['loss'],
  ce: number,
  kd: number,
  { alpha, temperature }: { alpha: number; temperature: number },
): number {
  const weight = teacherWeight(loss, alpha);
  // A term of weight 0 is left out: it may be NaN, and 0 · NaN is not 0.
  return (weight > 0 ? weight * temperature ** 2 * kd : 0) + (weight < 1 ? (1 - weight) * ce : 0);
}
