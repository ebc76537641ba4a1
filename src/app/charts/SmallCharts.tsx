// The three small charts under the curves: learning rate, gradient norm, loss scale.

import type { ChartName } from '../../doctor/rule';
import type { ShownRun } from '../run/shown-run';
import { regionsIn } from '../run/shown-run';
import { formatMeasure } from '../shared/format';
import type { TermName } from '../shared/glossary';
import { Figure } from './Figure';
import type { Measure } from './history';
import { linearAxis, logAxis } from './scale';
import type { XView } from './x-axis';

/** More points would share pixels: the charts are narrow. */
const MAX_POINTS = 200;

const CHARTS: readonly {
  measure: Measure & TermName;
  /** The chart's name in a verdict. */
  chart?: ChartName;
  title: string;
  unit: string;
  colour: string;
  axis: 'linear' | 'log';
  stepped?: boolean;
}[] = [
  {
    measure: 'learningRate',
    title: 'Learning rate',
    unit: '',
    colour: 'var(--ink-soft)',
    axis: 'linear',
  },
  {
    measure: 'gradNorm',
    chart: 'gradient',
    title: 'Gradient norm',
    unit: 'before clipping',
    colour: 'var(--ink-soft)',
    axis: 'linear',
  },
  {
    measure: 'lossScale',
    chart: 'scale',
    title: 'Loss scale',
    unit: '',
    colour: 'var(--ink-soft)',
    axis: 'log',
    stepped: true,
  },
];

export function SmallCharts({ run, x }: { run: ShownRun; x: XView }) {
  return (
    <div className="small-charts">
      {CHARTS.map((chart) => (
        <SmallChart key={chart.measure} run={run} x={x} {...chart} />
      ))}
    </div>
  );
}

function SmallChart({
  run,
  x,
  measure,
  chart,
  title,
  unit,
  colour,
  axis,
  stepped,
}: {
  run: ShownRun;
  x: XView;
} & (typeof CHARTS)[number]) {
  const { history, config } = run;
  const rows = history.thin([measure], MAX_POINTS, { x: x.name });
  const values = rows.map((row) => row[measure]);
  const highest = Math.max(0, ...values.map((value) => value ?? 0));
  // A threshold far above the curve is not drawn: it would flatten the curve.
  const clip =
    measure === 'gradNorm' && config.max_grad_norm > 0 && config.max_grad_norm <= 4 * highest
      ? config.max_grad_norm
      : undefined;
  return (
    <Figure
      compact
      title={title}
      unit={unit}
      terms={{ title: measure }}
      rows={rows}
      series={[{ key: measure, colour, width: 1.5, stepped }]}
      x={x}
      now={history.lastStep}
      axis={axis === 'log' ? logAxis(values, 3) : linearAxis([...values, clip], 2, true)}
      marks={run.marks}
      regions={chart && regionsIn(run, chart)}
      goal={
        clip === undefined
          ? undefined
          : { value: clip, label: `clip ${clip}`, colour: 'var(--teacher)' }
      }
      triangles={
        measure === 'learningRate'
          ? []
          : rows.filter((row) => !row.applied).map((row) => ({ step: row.step }))
      }
      readout={(step) => {
        const point = history.atStep(step);
        if (!point || point.step !== step) return undefined;
        return `${formatMeasure(point[measure])}${point.applied ? '' : ' skipped'}`;
      }}
      table={{
        head: ['step', title.toLowerCase(), 'applied'],
        rows: rows.map((row) => [
          row.step,
          formatMeasure(row[measure]),
          row.applied ? 'yes' : 'skipped',
        ]),
        note: `${rows.length} of ${history.length} steps. The CSV has every step.`,
      }}
      csv={() => history.csv([measure])}
    />
  );
}
