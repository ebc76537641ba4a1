// The Bug Lab: one bug, replayed with the real engine, and what its symptoms do and do not show.

import { Notice } from '../shared/Notice';
import { labHash } from '../shared/rooms';
import { Causes } from './Causes';
import { Heads } from './Heads';
import { Replay } from './Replay';
import type { Card } from './settings';
import { CARDS, formatState, TITLES } from './settings';
import { useBugLab } from './store';
import './bug-lab.css';
import './experiments.css';

const PANELS: Record<Card, () => React.ReactNode> = {
  replay: () => <Replay />,
  causes: () => <Causes />,
  heads: () => <Heads />,
};

export function BugLab() {
  const card = useBugLab((state) => state.card);
  const settings = useBugLab((state) => state.settings);
  const announcement = useBugLab((state) => state.announcement);
  return (
    <div className="room bug">
      <Problem />
      <main>
        <nav className="bug-cards" aria-label="Experiments">
          {CARDS.map((name) => (
            <a
              key={name}
              href={labHash('bugLab', formatState(name, settings[name]) || name)}
              aria-current={name === card ? 'page' : undefined}
            >
              {TITLES[name]}
            </a>
          ))}
        </nav>
        {PANELS[card]()}
      </main>
      <p className="visually-hidden" aria-live="polite">
        {announcement}
      </p>
    </div>
  );
}

function Problem() {
  const problem = useBugLab((state) => state.problem);
  const dismiss = useBugLab((state) => state.dismissProblem);
  if (!problem) return null;
  return (
    <Notice kind="problem" title="This link cannot be opened." onDismiss={dismiss}>
      {problem}
    </Notice>
  );
}
