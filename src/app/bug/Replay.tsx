// The story, replayed: three columns from the same seed, what each symptom comes from, and the code
// beside it.

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
import type { LabRun } from './store';
import { COLUMNS, experimentOf, useBug } from './store';

type Switches = Settings<'replay'>;

const SWITCHES: readonly {
  name: keyof Switches;
  legend: string;
  help: string;
  /** Where the choices are not said as the link says them. */
  labels?: Record<string, string>;
  /** Changes what is printed, not what runs. */
  display?: boolean;
}[] = [
  { name: 'batch', legend: 'Batch size', help: 'Sequences in a batch, B.' },
  { name: 'context', legend: 'Context', help: 'Tokens in a sequence, T.' },
  { name: 'where', legend: 'Slice and loss in', help: 'Where logits[:, :-1] is made.' },
  { name: 'errors', legend: 'Errors are', help: 'What the script does with them.' },
  {
    name: 'clamp',
    legend: 'Perplexity',
    help: 'How the log prints it.',
    labels: { on: 'clamped', off: 'as it is' },
    display: true,
  },
];

export function Replay() {
  const settings = useBug((state) => state.settings.replay);
  const all = useBug((state) => state.settings);
  const going = useBug((state) => state.current === 'replay');
  const run = useBug((state) => state.runs.replay);
  const choose = useBug((state) => state.choose);
  const stale = useIsStale(experimentOf('replay', all));
  return (
    <>
      <section className="bug-intro" aria-labelledby="replay-title">
        <h2 id="replay-title">The story of the stuck run</h2>
        <p>
          A training script printed <code>Loss=9.7453, PPL=10000.0, Success=1.000</code> for 500
          steps, and <code>.view()</code> on <code>logits[:, :-1]</code> got all the blame. Here a
          small student trains from the same seed three times; only the way in which sliced logits
          meet the loss differs. Nothing is recorded: this machine runs it.
        </p>
        <div className="switches">
          {SWITCHES.map(({ name, legend, help, labels, display }) => (
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
              disabled={going && !display}
            />
          ))}
        </div>
        <RunBar label="Run the three columns" />
        {run && stale && (
          <p className="help" role="status">
            The columns below ran with other switches: {describe(run)}. Run them again.
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

function describe({ experiment }: LabRun): string {
  if (experiment.kind !== 'replay') return experiment.kind;
  const { batchSize, contextLength, where, errors } = experiment;
  return `batch ${batchSize}, context ${contextLength}, in ${where}, errors ${errors}`;
}

/** How far the columns that measured something lie apart. */
function Comparison({ run }: { run?: LabRun }) {
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
      Last perplexities: {figures.join(', ')}.{' '}
      {low === high ? 'They are equal.' : `They lie ${apart(low, high)} apart.`}
    </p>
  );
}

const apart = (low: number, high: number) => `${formatMeasure((100 * (high - low)) / low)}%`;
