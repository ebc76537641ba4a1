// A link that carries a run, for the designed states.

import { DEFAULTS } from '../../config';
import { formatGhost, ghostOf } from '../../runs/ghost';
import { withGhost } from '../run/ghost';
import type { RunMessage } from '../run/reduce';
import { evaluationAt, stepsBetween } from './measurements';

const STEPS = DEFAULTS.train_steps;
/** Its losses and perplexities are so many times as large as the scenes' own. */
const WORSE = 1.08;

function ghostText(): string {
  const facts = { name: 'amber heron', adapter: 'Apple M3 Max', own: false, changed: false };
  const evaluations = Array.from({ length: STEPS / 20 + 1 }, (_, i) => evaluationAt(20 * i, WORSE));
  return formatGhost(ghostOf(facts, stepsBetween(0, STEPS, WORSE), evaluations), DEFAULTS);
}

const link = (ghost: string): RunMessage => ({
  type: 'link',
  link: withGhost({ config: { ...DEFAULTS }, ghost }),
});

/** Somebody's run comes with the link to the default settings. */
export const opensGhost = link(ghostText());

/** Notices of the scene in which nothing is loaded. */
export const GHOST_NOTICES = {
  ghost: { title: 'a link with a run', scenes: ['idle'], messages: [opensGhost] },
  'ghost-differs': {
    title: 'a link with a run, settings changed since',
    scenes: ['idle'],
    messages: [opensGhost, { type: 'field', name: 'alpha', text: '0.4' } as RunMessage],
  },
  'ghost-damaged': {
    title: 'a link with a damaged run',
    scenes: ['idle'],
    messages: [link('AQ')],
  },
} as const;
