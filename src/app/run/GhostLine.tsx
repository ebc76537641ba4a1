// One line under the charts' options: how one's own run stands against the run of the link.

import { raceSentences } from './ghost';
import { useRun } from './store';
import { useShownRun } from './use-shown-run';

export function GhostLine() {
  const run = useShownRun();
  const { ghost, config, phase, corpus, dismiss } = useRun();
  if (!ghost) return null;
  const live = run?.source === 'live' ? run : undefined;
  // After a run its settings may be changed for the next one.
  const mine = live ?? { config, corpus };
  const sentences = raceSentences(ghost, {
    config: mine.config,
    run: live,
    phase,
    ownText: mine.corpus !== undefined,
  });
  return (
    <p className="ghost-line" data-testid="ghost">
      {sentences.join(' ')}{' '}
      <button
        type="button"
        className="tool"
        aria-label={`Remove “${ghost.name}”`}
        onClick={() => dismiss('ghost')}
      >
        Remove
      </button>
    </p>
  );
}
