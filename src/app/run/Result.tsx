// A finished run's result: whether it is good and the numbers that say so, what to do with it, and
// what to try next.

import { TRY_IT } from '../say/TryIt';
import { useFolds } from '../shared/Fold';
import { plural } from '../shared/format';
import { ShareButton } from '../shared/Share';
import { nextOf } from './next';
import { useRun } from './store';
import { useShownRun } from './use-shown-run';
import { verdictOf } from './verdict';

export function Result() {
  const finished = useRun(({ phase }) => phase === 'finished');
  const run = useShownRun();
  const verdict = finished && run && verdictOf(run);
  const skipped = run?.history.last()?.skippedTotal ?? 0;
  if (!verdict) return null;
  const { title, sentences } = verdict;
  return (
    <section className="result" aria-label="Result" data-testid="result">
      <h2>{title}</h2>
      <p>
        {sentences.join(' ')}
        {skipped > 0 && ` ${plural(skipped, 'step')} skipped.`}
      </p>
      <div className="result-tools">
        <button
          type="button"
          className="quiet outlined"
          onClick={() => useFolds.setState({ [TRY_IT]: true })}
        >
          Ask it something
        </button>
        <ShareButton />
      </div>
      <h3>Try next</h3>
      <ul className="result-next">
        {nextOf(run.config).map(({ label, hash }) => (
          <li key={label}>
            <a href={hash}>{label}</a>
          </li>
        ))}
      </ul>
    </section>
  );
}
