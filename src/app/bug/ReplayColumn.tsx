// One column of the replay: the log as the script would print it, the evaluation, the cost, and the
// full text of the first error.

import type { LossPath } from '../../worker/protocol';
import { formatBytes, formatMeasure, plural } from '../shared/format';
import { percent } from './cause-rows';
import type { Totals } from './script';
import { measuredPerplexity, scriptLog, scriptPerplexity, totalsOf } from './script';
import type { BugLabRun, ColumnRun } from './store';

const NAMES: Record<LossPath, { title: string; note: string }> = {
  view: { title: 'view', note: 'the original' },
  reshape: { title: 'reshape', note: 'the fix: a copy' },
  strided: { title: 'strided', note: 'ours: read in place' },
};

export function ReplayColumn({
  path,
  run,
  clamp,
}: {
  path: LossPath;
  run?: BugLabRun;
  clamp: boolean;
}) {
  const column = run?.columns[path];
  const { title, note } = NAMES[path];
  const active = run?.state === 'running' && column && !column.ended;
  return (
    <section
      className={`bug-column ${path}`}
      aria-labelledby={`column-${path}`}
      data-testid={`column-${path}`}
    >
      <h3 id={`column-${path}`}>
        <code>{title}</code> <span className="unit">{note}</span>
        {active && <span className="chip">running</span>}
      </h3>
      {column ? <Results column={column} clamp={clamp} /> : <p className="help">{waiting(run)}</p>}
    </section>
  );
}

function waiting(run?: BugLabRun): string {
  if (!run) return 'Not run yet.';
  return run.state === 'loading' || run.state === 'running'
    ? 'Waiting for its turn.'
    : 'Did not run.';
}

function Results({ column, clamp }: { column: ColumnRun; clamp: boolean }) {
  const totals = totalsOf(column);
  const log = scriptLog(column, clamp);
  return (
    <>
      <p className="bug-verdict">{verdict(totals, column)}</p>
      <ol className="script-log" aria-label="Log">
        {log.map((line) => (
          <li key={line.step}>{line.text}</li>
        ))}
        {column.ended?.error !== undefined && (
          <li className="problem">Stopped: the exception was not caught.</li>
        )}
        {log.length === 0 && column.ended === undefined && <li>…</li>}
      </ol>
      <Figures totals={totals} clamp={clamp} />
      {totals.firstError && (
        <>
          <p className="bug-label">First error</p>
          <pre className="bug-error" tabIndex={0}>
            {totals.firstError}
          </pre>
        </>
      )}
    </>
  );
}

function verdict({ tried, succeeded, steps, raised }: Totals, { ended }: ColumnRun): string {
  if (ended?.error !== undefined) {
    const completed = steps - raised;
    return completed === 0
      ? 'Raised and stopped before the first step finished.'
      : `Raised and stopped after ${plural(completed, 'step')}.`;
  }
  const batches = `${succeeded} of ${tried} evaluation batches succeeded`;
  return raised > 0 ? `${batches}, ${raised} of ${plural(steps, 'step')} raised.` : `${batches}.`;
}

function Figures({ totals, clamp }: { totals: Totals; clamp: boolean }) {
  const {
    tried,
    succeeded,
    failed,
    steps,
    raised,
    evaluation,
    bytesCopied,
    milliseconds,
    weightChange,
  } = totals;
  const printed = clamp
    ? scriptPerplexity(evaluation?.studentPerplexity)
    : measuredPerplexity(evaluation);
  const rows: [string, string][] = [
    ['evaluation batches', `${tried} tried, ${succeeded} succeeded, ${failed} failed`],
    ['training steps', `${steps} tried, ${steps - raised} completed, ${raised} raised`],
    ['perplexity', evaluation ? printed : 'n/a'],
    ...(clamp && evaluation
      ? ([['unclamped', measuredPerplexity(evaluation)]] as [string, string][])
      : []),
    ['bytes copied', formatBytes(bytesCopied)],
    [
      'time per step',
      milliseconds === undefined ? 'n/a' : `${formatMeasure(milliseconds)} ms, median`,
    ],
    ['weights changed by', percent(weightChange)],
  ];
  return (
    <dl className="bug-figures">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
