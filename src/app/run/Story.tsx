// What happens in the run that is shown, in plain words. It is open until somebody
// closes it, in a narrow window until somebody opens it: there the curves come first.

import { useEffect } from 'react';
import { useMedia, WIDE } from '../shared/browser';
import { Fold, useFolds } from '../shared/Fold';
import { isRemembered, remember } from '../shared/remembered';
import type { ShownRun } from './shown-run';
import { storyOf } from './story';

/** The drawer's title. */
const STORY = 'What happens, and why';

export function Story({ run }: { run: ShownRun }) {
  const closed = useFolds((folds) => folds[STORY] === false);
  const wide = useMedia(WIDE);
  useEffect(() => {
    if (closed) remember('storyRead');
  }, [closed]);
  return (
    <Fold title={STORY} atFirst={wide && !isRemembered('storyRead')}>
      <ul className="story">
        {storyOf(run).map(({ lead, text }) => (
          <li key={lead}>
            <strong>{lead}</strong>: {text}
          </li>
        ))}
      </ul>
    </Fold>
  );
}
