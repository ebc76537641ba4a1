// What came of a sweep: the best in a sentence, and its runs as a table.

import { nameOf } from '../../runs/names';
import type { Sweep } from '../../runs/sweep';
import { bestSentence, valuesIn } from '../../runs/sweep-result';
import { useRun } from '../run/store';
import { useRuns } from '../runs/store';
import { formatDuration, formatMeasure, formatShare } from '../shared/format';
import { labHash } from '../shared/rooms';
import './sweep.css';

export function SweepResult({ sweep }: { sweep: Sweep }) {
  const kept = useRuns((state) => state.kept);
  const current = useRun((state) => (state.run?.source === 'live' ? state.run.id : undefined));
  const phase = useRun((state) => state.phase);
  const { runs, fields } = sweep;
  const perplexities = runs.flatMap(({ outcome }) => outcome?.perplexity ?? []);
  // Of seeds none is better: they show the spread.
  const compares = fields.some((name) => name !== 'seed') && perplexities.length > 1;
  const best = compares ? Math.min(...perplexities) : undefined;
  const sentence = bestSentence(sweep);
  return (
    <>
      {sentence && <p data-testid="sweep-sentence">{sentence}</p>}
      <section className="sweep-scroll" tabIndex={0} aria-label="Sweep, table">
        <table>
          <thead>
            <tr>
              <th scope="col">Settings</th>
              <th scope="col">Run</th>
              <th scope="col" className="number">
                Perplexity
              </th>
              <th scope="col" className="number">
                KL
              </th>
              <th scope="col" className="number">
                Agreement
              </th>
              <th scope="col" className="number">
                Trained
              </th>
            </tr>
          </thead>
          <tbody>
            {runs.map(({ id, config, outcome }) => {
              const row = kept?.rows.find((other) => other.id === id);
              const name = row?.name ?? nameOf(id);
              const isBest = best !== undefined && outcome?.perplexity === best;
              return (
                <tr key={id} className={isBest ? 'best' : undefined}>
                  <th scope="row">{valuesIn(config, fields)}</th>
                  <td>{row ? <a href={labHash('runs', id)}>{name}</a> : name}</td>
                  {outcome && outcome.problem === undefined ? (
                    <>
                      <td className="number">
                        {formatMeasure(outcome.perplexity)}
                        {isBest && <span className="visually-hidden">, the lowest</span>}
                      </td>
                      <td className="number">{formatMeasure(outcome.kl)}</td>
                      <td className="number">{formatShare(outcome.agreement)}</td>
                      <td className="number">{formatDuration(outcome.seconds)}</td>
                    </>
                  ) : (
                    <td colSpan={4} className="sweep-state">
                      {outcome?.problem ??
                        (id === current && phase !== 'idle'
                          ? PHASES[phase]
                          : row?.checkpoint !== undefined
                            ? `stopped at step ${row.step}`
                            : 'waiting')}
                    </td>
                  )}
                </tr>
              );
            })}
          </tbody>
        </table>
      </section>
    </>
  );
}

const PHASES = {
  loading: 'loading',
  running: 'training',
  paused: 'paused',
  finished: 'finished',
  failed: 'failed',
  lost: 'the GPU was lost',
} as const;
