// Which of a run's samples the scrubber stops at: step 0, about 1, 3, 10, 30, 100 and so on, the
// last one, and the first after each change of the prompt. Pure.

import type { SampleRecord } from '../../worker/protocol';

export interface Stop extends SampleRecord {
  /** The prompt is another one than at the stop before. */
  newPrompt: boolean;
}

/** The stops, in order. Samples lie where the run took them, so a stop is the nearest there is. */
export function sampleStops(samples: readonly SampleRecord[]): Stop[] {
  const chosen = new Set<number>();
  const last = samples.length - 1;
  if (last < 0) return [];
  chosen.add(0).add(last);
  for (const [index, { sample }] of samples.entries())
    if (index > 0 && sample.prompt !== samples[index - 1].sample.prompt) chosen.add(index);
  for (let decade = 1; decade <= samples[last].step; decade *= 10)
    for (const step of [decade, 3 * decade])
      if (step <= samples[last].step) chosen.add(nearest(samples, step));
  return [...chosen]
    .sort((a, b) => a - b)
    .map((index, place, all) => ({
      ...samples[index],
      newPrompt:
        place > 0 && samples[index].sample.prompt !== samples[all[place - 1]].sample.prompt,
    }));
}

/** The index of the sample nearest to `step` by the ratio of their steps. */
function nearest(samples: readonly SampleRecord[], step: number): number {
  const distance = (index: number) => Math.abs(Math.log(samples[index].step / step));
  let best = samples.length - 1;
  for (let index = best - 1; index >= 0; index--)
    if (distance(index) < distance(best)) best = index;
  return best;
}
