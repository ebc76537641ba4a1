// The symptoms, one beside the other: where each comes from, where it does not, and what was
// measured just now.

import { formatState } from './settings';
import type { LabRun } from './store';
import { useBug } from './store';
import { replayed, SYMPTOMS } from './symptom-rows';

export function Symptoms({ run }: { run?: LabRun }) {
  const replay = replayed(run);
  const causes = useBug((state) => state.settings.causes);
  return (
    <section className="symptoms" aria-labelledby="symptoms-title">
      <h2 id="symptoms-title">What each symptom comes from, and what it does not come from</h2>
      <div className="symptom-grid">
        {SYMPTOMS.map(({ id, title, from, notFrom, measured }) => {
          const figures = replay && measured(replay);
          return (
            <article
              key={id}
              className="symptom"
              aria-labelledby={`symptom-${id}`}
              data-testid={`symptom-${id}`}
            >
              <h3 id={`symptom-${id}`}>{title}</h3>
              <dl>
                <dt>Comes from</dt>
                <dd>{from}</dd>
                <dt>Not from</dt>
                <dd>{notFrom}</dd>
                <dt>Measured here</dt>
                <dd className={figures ? 'measured' : 'not-measured'}>
                  {figures ?? (replay ? 'Not with these switches.' : 'Run the three columns.')}
                </dd>
              </dl>
              {id === 'flat' && (
                <a href={`#bug=${formatState('causes', causes)}`}>
                  Four causes to tell apart: which explains the log?
                </a>
              )}
            </article>
          );
        })}
      </div>
    </section>
  );
}
