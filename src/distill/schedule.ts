// What happens at which step. The learning rate: a linear warm-up, then constant, or a linear or
// cosine decay to 0 at the last step. And samples that need no evaluation.

import type { Config } from '../config';

type Schedule = Pick<Config, 'student_lr' | 'lr_schedule' | 'warmup_steps' | 'train_steps'>;

/** @param step 1 for the first */
export function learningRate(
  step: number,
  { student_lr, lr_schedule, warmup_steps, train_steps }: Schedule,
): number {
  if (step <= warmup_steps) return (student_lr * step) / warmup_steps;
  if (lr_schedule === 'constant') return student_lr;
  const progress = Math.min(1, (step - warmup_steps) / Math.max(1, train_steps - warmup_steps));
  const factor = lr_schedule === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2;
  return student_lr * factor;
}

/**
 * True for 1, 3, 10, 30, 100, 300 and so on: steps after which both models continue the prompt even
 * if no evaluation is due. A student learns most of its language in its first steps.
 */
export function isSampleStep(step: number): boolean {
  const decade = 10 ** Math.floor(Math.log10(step));
  return step === decade || step === 3 * decade;
}
