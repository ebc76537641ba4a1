// The story, replayed: three columns from the same seed, the code, and the cause of each symptom.

import type { LossPath } from '../../worker/protocol';
import { formatBytes, formatMeasure } from '../shared/format';
import { Choice } from './Choice';
import { Code } from './Code';
import { ReplayColumn } from './ReplayColumn';
import { RunBar, useIsStale } from './RunBar';
import { Symptoms } from './Symptoms';
import { totalsOf } from './script';
import type { Settings } from './settings';
import { choicesOf } from './settings';
import type { BugLabRun } from './store';
import { COLUMNS, experimentOf, useBugLab } from './store';

type Options = Settings<'replay'>;

const OPTIONS: readonly {
  name: keyof Options;
  legend: string;
  help: string;
  /** Labels of values whose name in the link reads badly. */
  labels?: Record<string, string>;
  /** Changes only what is printed. */
  displayOnly?: boolean;
}[] = [
  { name: 'batch', legend: 'Batch size', help: 'Sequences in a batch, B.' },
  { name: 'context', legend: 'Context', help: 'Tokens in a sequence, T.' },
  { name: 'where', legend: 'Slice in', help: 'Where the script slices the logits.' },
  { name: 'errors', legend: 'Errors are', help: 'What the script does with an exception.' },
  {
    name: 'clamp',
    legend: 'Perplexity',
    help: 'How the log prints it.',
    labels: { on: 'clamped', off: 'as measured' },
    displayOnly: true,
  },
];

export function Replay() {
  const settings = useBugLab((state) => state.settings.replay);
  const all = useBugLab((state) => state.settings);
  const running = useBugLab((state) => state.current === 'replay');
  const run = useBugLab((state) => state.runs.replay);
  const choose = useBugLab((state) => state.choose);
  const stale = useIsStale(experimentOf('replay', all));
  return (
    <>
      <section className="bug-intro" aria-labelledby="replay-title">
        <h2 id="replay-title">The story of the stuck run</h2>
        <p>
          A training script printed <code>Loss=9.7453, PPL=10000.0, Success=1.000</code> for 500
          steps, and <code>.view()</code> on <code>logits[:, :-1]</code> got all the blame. Here a
          small student trains three times from the same seed. The runs differ only in how the
          sliced logits reach the loss. Nothing is prerecorded: your machine runs all three.
        </p>
        <div className="bug-options">
          {OPTIONS.map(({ name, legend, help, labels, displayOnly }) => (
            <Choice
              key={name}
              legend={legend}
              help={help}
              value={settings[name]}
              choices={choicesOf('replay', name).map((value) => ({
                value,
                label: labels?.[value] ?? value,
              }))}
              onChoose={(value) => choose({ [name]: value })}
              disabled={running && !displayOnly}
            />
          ))}
        </div>
        <RunBar label="Run the three columns" />
        {run && stale && (
          <p className="help" role="status">
            These results are from other options: {describe(run)}. Run the columns again.
          </p>
        )}
      </section>
      <section className="bug-columns" aria-label="Three columns">
        {COLUMNS.replay.map((path) => (
          <ReplayColumn key={path} path={path} run={run} clamp={settings.clamp === 'on'} />
        ))}
      </section>
      <Comparison run={run} />
      <Code run={run} settings={settings} />
      <Symptoms run={run} />
    </>
  );
}

function describe({ experiment }: BugLabRun): string {
  if (experiment.kind !== 'replay') return experiment.kind;
  const { batchSize, contextLength, where, errors } = experiment;
  return `batch size ${batchSize}, context ${contextLength}, slice in ${where}, errors ${errors}`;
}

/** How far apart the measured perplexities are. */
function Comparison({ run }: { run?: BugLabRun }) {
  if (run?.state !== 'done') return null;
  const measured = COLUMNS.replay.flatMap((path: LossPath) => {
    const column = run.columns[path];
    const totals = column && totalsOf(column);
    const perplexity = totals?.evaluation?.studentPerplexity;
    return totals && perplexity !== undefined
      ? [{ path, perplexity, bytes: totals.bytesCopied }]
      : [];
  });
  if (measured.length < 2) return null;
  const values = measured.map(({ perplexity }) => perplexity);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const figures = measured.map(
    ({ path, perplexity, bytes }) =>
      `${path} ${formatMeasure(perplexity)} with ${formatBytes(bytes)} copied`,
  );
  return (
    <p className="bug-verdict" data-testid="comparison">
      Final perplexity: {figures.join(', ')}.{' '}
      {low === high ? 'They are equal.' : `They differ by ${difference(low, high)}.`}
    </p>
  );
}

const difference = (low: number, high: number) => `${formatMeasure((100 * (high - low)) / low)}%`;
