// The Bug Lab: one bug, replayed with the real engine, and what its symptoms can and cannot mean.

import { Causes } from './Causes';
import { Heads } from './Heads';
import { Replay } from './Replay';
import type { Card } from './settings';
import { CARDS, formatState } from './settings';
import { useBug } from './store';
import './bug.css';
import './lessons.css';

const ROOMS: Record<Card, { label: string; show: () => React.ReactNode }> = {
  replay: { label: 'The story, replayed', show: () => <Replay /> },
  causes: { label: 'Which cause explains this log?', show: () => <Causes /> },
  heads: { label: 'The bug that raises nothing', show: () => <Heads /> },
};

export function BugLab() {
  const card = useBug((state) => state.card);
  const settings = useBug((state) => state.settings);
  const announcement = useBug((state) => state.announcement);
  return (
    <div className="room bug">
      <Problem />
      <main>
        <nav className="bug-cards" aria-label="Experiments">
          {CARDS.map((name) => (
            <a
              key={name}
              href={`#bug=${formatState(name, settings[name]) || name}`}
              aria-current={name === card ? 'page' : undefined}
            >
              {ROOMS[name].label}
            </a>
          ))}
        </nav>
        {ROOMS[card].show()}
      </main>
      <p className="visually-hidden" aria-live="polite">
        {announcement}
      </p>
    </div>
  );
}

function Problem() {
  const problem = useBug((state) => state.problem);
  const dismiss = useBug((state) => state.dismissProblem);
  if (!problem) return null;
  return (
    <section className="notice problem" role="alert">
      <div>
        <strong>The link was not used.</strong> <span>{problem}</span>
      </div>
      <button type="button" className="quiet" onClick={dismiss}>
        Dismiss
      </button>
    </section>
  );
}
