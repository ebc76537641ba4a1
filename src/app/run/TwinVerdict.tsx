// One sentence under the charts' options: what the difference between the run and its twin came to.

import { twinSentence } from '../../twin-worth';
import { useShownRun } from './use-shown-run';

export function TwinVerdict() {
  const run = useShownRun();
  if (!run?.twin) return null;
  const twin = run.twin.evaluations.at(-1);
  const first = run.history.evaluations.findLast(({ step }) => step === twin?.step);
  const sentence =
    twin && twin.step > 0 ? twinSentence(run.config, first, twin) : 'The twin trains in turn.';
  return (
    <p className="twin-verdict" data-testid="twin-verdict">
      {sentence ?? 'The twin cannot be compared yet: an evaluation has no valid tokens.'}
    </p>
  );
}
