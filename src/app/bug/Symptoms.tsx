// The symptoms side by side: the cause of each, what does not explain it, and what the replay has
// just measured.

import { labHash } from '../shared/rooms';
import { formatState } from './settings';
import type { BugLabRun } from './store';
import { useBugLab } from './store';
import { SYMPTOMS, summariseReplay } from './symptom-rows';

export function Symptoms({ run }: { run?: BugLabRun }) {
  const replay = summariseReplay(run);
  const causes = useBugLab((state) => state.settings.causes);
  return (
    <section className="symptoms" aria-labelledby="symptoms-title">
      <h2 id="symptoms-title">What causes each symptom, and what does not</h2>
      <div className="symptom-grid">
        {SYMPTOMS.map(({ id, title, cause, notTheCause, measured }) => {
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
                <dt>Cause</dt>
                <dd>{cause}</dd>
                <dt>Not the cause</dt>
                <dd>{notTheCause}</dd>
                <dt>Measured here</dt>
                <dd className={figures ? 'measured' : 'not-measured'}>
                  {figures ??
                    (replay
                      ? 'Not measured with these options.'
                      : 'Nothing yet. Run the three columns.')}
                </dd>
              </dl>
              {id === 'flat' && (
                <a href={labHash('bugLab', formatState('causes', causes))}>
                  Four possible causes: which one explains the log?
                </a>
              )}
            </article>
          );
        })}
      </div>
    </section>
  );
}
