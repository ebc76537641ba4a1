// A cure on trial: the run that a verdict was about, the changed run that replaced it, and whether
// the change helped. Pure.

import type { Config } from '../config';
import type { EvaluationRecord } from '../distill/records';
import type { Verdict } from './examine';
import { count, figure } from './words';

export interface Trial {
  /** The verdict on the run before. */
  verdict: Verdict;
  /** The difference, such as "lr 5e-6 → 6e-5". */
  difference: string;
  /** The settings and the evaluations of the run before. */
  config: Config;
  evaluations: readonly EvaluationRecord[];
}

export interface Outcome {
  state: 'too early' | 'cured' | 'not cured';
  /** One sentence, with the numbers of both runs. */
  text: string;
}

/** What the changed run shows so far. `verdicts` are those that stand on it. */
export function judge(
  { verdict, difference, evaluations: before }: Trial,
  evaluations: readonly EvaluationRecord[],
  verdicts: readonly Verdict[],
): Outcome {
  const last = evaluations.at(-1);
  // A verdict on settings alone is gone with the settings.
  const spoken = verdict.region?.to ?? 0;
  const stands = verdicts.some(({ rule }) => rule === verdict.rule);
  if (!last || last.step === 0 || (last.step < spoken && !stands)) {
    return {
      state: 'too early',
      text: `Trying ${difference}. The verdict before came at step ${count(spoken)}.`,
    };
  }
  const then = before.findLast(({ step }) => step <= last.step);
  const figures = then ? ` ${compared(then, last)}` : '';
  return stands
    ? { state: 'not cured', text: `${difference} did not cure it.${figures}` }
    : {
        state: 'cured',
        text:
          `${difference} cured it: “${verdict.title}” is gone at step ` +
          `${count(last.step)}.${figures}`,
      };
}

/** "Perplexity is 812; before, 1,140 at step 60." */
function compared(then: EvaluationRecord, now: EvaluationRecord): string {
  const shown = (perplexity: number | undefined) =>
    perplexity === undefined || !Number.isFinite(perplexity) ? 'n/a' : figure(perplexity);
  return (
    `Perplexity is ${shown(now.studentPerplexity)} at step ${count(now.step)}; before, it was ` +
    `${shown(then.studentPerplexity)} at step ${count(then.step)}.`
  );
}
