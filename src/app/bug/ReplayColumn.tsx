// One column of the replay: its log in the script's style, what was evaluated, what it cost, and
// the first error whole.

import type { LossPath } from '../../worker/protocol';
import { formatBytes, formatMeasure, plural } from '../shared/format';
import { percent } from './cause-rows';
import type { Totals } from './script';
import { honestPerplexity, scriptLog, scriptPerplexity, totalsOf } from './script';
import type { ColumnRun, LabRun } from './store';

const NAMES: Record<LossPath, { title: string; note: string }> = {
  view: { title: 'view', note: 'as it was' },
  reshape: { title: 'reshape', note: 'the fix: a copy' },
  strided: { title: 'strided', note: 'ours: read where it lies' },
};

export function ReplayColumn({
  path,
  run,
  clamp,
}: {
  path: LossPath;
  run?: LabRun;
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

function waiting(run?: LabRun): string {
  if (!run) return 'Not run yet.';
  return run.state === 'loading' || run.state === 'running'
    ? 'Waits for its turn.'
    : 'Did not run.';
}

function Results({ column, clamp }: { column: ColumnRun; clamp: boolean }) {
  const totals = totalsOf(column);
  const log = scriptLog(column, clamp);
  return (
    <>
      <p className="bug-verdict">{verdict(totals, column)}</p>
      <ol className="lab-log" aria-label="Log">
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
    const after =
      steps - raised === 0 ? 'before a step was done' : `after ${plural(steps - raised, 'step')}`;
    return `Raised, and stopped ${after}.`;
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
    : honestPerplexity(evaluation);
  const rows: [string, string][] = [
    ['evaluation batches', `${tried} tried, ${succeeded} succeeded, ${failed} failed`],
    ['training steps', `${steps} tried, ${steps - raised} came back, ${raised} raised`],
    ['perplexity', evaluation ? printed : 'n/a'],
    ...(clamp && evaluation
      ? ([['unclamped', honestPerplexity(evaluation)]] as [string, string][])
      : []),
    ['bytes copied', formatBytes(bytesCopied)],
    [
      'time a step',
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
