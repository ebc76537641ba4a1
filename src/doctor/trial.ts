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
  /** All verdicts that stood on the run before. */
  stood: readonly Pick<Verdict, 'rule'>[];
  /** The settings and the evaluations of the run before. */
  config: Config;
  evaluations: readonly EvaluationRecord[];
}

export interface Outcome {
  state: 'too early' | 'cured' | 'not cured' | 'stopped';
  /** One sentence or two, with the numbers of both runs. */
  text: string;
}

/** A changed run so far. */
export interface Tried {
  evaluations: readonly EvaluationRecord[];
  /** Those that stand on it. */
  verdicts: readonly Verdict[];
  /** finished: at its last step. stopped: by an error, before that. */
  ended?: 'finished' | 'stopped';
}

/** What the changed run shows of the cure. */
export function judge(
  { verdict, difference, stood, evaluations: before }: Trial,
  { evaluations, verdicts, ended }: Tried,
): Outcome {
  const last = evaluations.at(-1);
  // A verdict on settings alone is gone with the settings.
  const spoken = verdict.region?.to ?? 0;
  const stands = verdicts.some(({ rule }) => rule === verdict.rule);
  const early = !last || last.step === 0 || (last.step < spoken && !stands);
  if (early && ended === 'stopped') {
    return {
      state: 'stopped',
      text:
        `The run with ${difference} stopped before step ${count(Math.max(1, spoken))}, which ` +
        'would have shown whether that is a cure.',
    };
  }
  // A cure that shortens the run has all its steps behind it.
  if (!last || (early && ended === undefined)) {
    return {
      state: 'too early',
      text:
        `Trying ${difference}. Whether it helps shows ` +
        (spoken > 0
          ? `at step ${count(spoken)}, where the verdict stood.`
          : 'at the first evaluation.'),
    };
  }
  const then = before.findLast(({ step }) => step <= last.step);
  const figures = then ? ` ${compared(then, last)}` : '';
  if (stands) return { state: 'not cured', text: `${difference} did not cure it.${figures}` };
  const gone = `“${verdict.title}” is gone at step ${count(last.step)}`;
  // One problem may hide behind another.
  const fresh = verdicts.find(
    ({ rule, severity }) => severity === 'problem' && !stood.some((other) => other.rule === rule),
  );
  return fresh
    ? {
        state: 'not cured',
        text: `${difference} did not cure it: ${gone}, but “${fresh.title}” has come.${figures}`,
      }
    : { state: 'cured', text: `${difference} cured it: ${gone}.${figures}` };
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
