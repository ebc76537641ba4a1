// What became of a run, as the command line tells it at the end. Pure.

import type { RunStory } from '../distill/export/model-card';
import type { EvaluationRecord, StepRecord } from '../distill/records';
import type { Journal } from '../runs/journal';

/** Rows of the model card's table of losses. */
const MOST_LOSSES = 25;
const GENTLER = 'Use a smaller --student_lr or --model_dtype float32.';

/**
 * Why the student is of no use, and what to do; undefined if it may be exported.
 * @param first the step from which this process trained, and the steps applied until then
 */
export function whyUseless(
  first: { step: number; applied: number },
  lastStep: StepRecord | undefined,
  evaluation: EvaluationRecord | undefined,
): string | undefined {
  const { step = 0, appliedTotal = 0 } = lastStep ?? {};
  if (step > first.step && appliedTotal === first.applied) {
    const since = first.step > 0 ? ` after step ${first.step}` : '';
    return (
      `no step${since} changed the student: each was skipped, because its gradient was not ` +
      `finite or it had no valid target. Nothing is exported. ${GENTLER}`
    );
  }
  const { tokens = 0, studentPerplexity } = evaluation ?? {};
  if (tokens > 0 && !Number.isFinite(studentPerplexity)) {
    return (
      `the student is broken: its perplexity on ${tokens} held-out tokens is not a finite ` +
      `number. Nothing is exported. ${GENTLER}`
    );
  }
  return undefined;
}

/** The run as a model card shows it: every evaluation, and a sample of the steps. */
export function storyOf({ steps, evaluations }: Journal): RunStory {
  const rows = Math.min(MOST_LOSSES, steps.length);
  const losses = Array.from(
    { length: rows },
    (_, i) => steps[Math.round(((i + 1) * steps.length) / rows) - 1],
  );
  return { evaluations, losses, changes: [] };
}
