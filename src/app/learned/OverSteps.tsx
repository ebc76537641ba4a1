// Evaluations over the steps: how far the likely tokens of both models are the same, and how sure
// each is.

import type { EvaluationRecord } from '../../worker/protocol';
import { Figure } from '../charts/Figure';
import type { PlotSeries } from '../charts/Plot';
import { linearAxis } from '../charts/scale';
import type { XView } from '../charts/x-axis';
import type { ShownRun } from '../run/shown-run';
import { formatMeasure, formatTick } from '../shared/format';

type Name = 'overlap' | 'overlapMass' | 'studentEntropy' | 'teacherEntropy';

interface ChartProps {
  run: ShownRun;
  x: XView;
}

export const OverlapChart = (props: ChartProps) => (
  <OverSteps
    {...props}
    title="Likely tokens in common"
    unit="%, held-out text"
    scale={100}
    series={[
      { key: 'overlap', label: 'top 5', colour: 'var(--student)', width: 2.25 },
      { key: 'overlapMass', label: 'mass', colour: 'var(--teacher)', width: 1.5, dash: '6 4' },
    ]}
    read={
      'How many of both models’ five likeliest tokens are the same (top 5), and how much of the ' +
      'teacher’s probability is on the student’s five (mass). If the mass stays low, the student ' +
      'looks for the next token in other places than its teacher.'
    }
  />
);

export const EntropyChart = (props: ChartProps) => (
  <OverSteps
    {...props}
    title="Entropy"
    unit="nats per token, held-out text"
    beside={[
      'gap',
      ({ studentEntropy = NaN, teacherEntropy = NaN }) => studentEntropy - teacherEntropy,
    ]}
    series={[
      { key: 'studentEntropy', label: 'student', colour: 'var(--student)', width: 2.25 },
      {
        key: 'teacherEntropy',
        label: 'teacher',
        colour: 'var(--teacher)',
        width: 1.5,
        dash: '6 4',
      },
    ]}
    read={
      'How unsure each model is of the next token: 0 is certain. The gap is the student’s less ' +
      'its teacher’s. A student above its teacher has more to learn; one below it is surer than ' +
      'its teacher.'
    }
  />
);

function OverSteps({
  run,
  x,
  title,
  unit,
  series,
  scale = 1,
  beside,
  read,
}: ChartProps & {
  title: string;
  unit: string;
  series: (PlotSeries & { key: Name; label: string })[];
  /** What the figures are multiplied by for the unit. */
  scale?: number;
  /** A figure that is told and not drawn. */
  beside?: [label: string, of: (record: EvaluationRecord) => number];
  /** What to read from it. */
  read: string;
}) {
  const { evaluations } = run.history;
  const measured = evaluations.filter((record) => record[series[0].key] !== undefined);
  const figures = (record: EvaluationRecord) =>
    series.map(({ key }) => scale * (record[key] ?? Number.NaN));
  const labels = [...series.map(({ label }) => label), ...(beside ? [beside[0]] : [])];
  const told = (record: EvaluationRecord) => [
    ...figures(record),
    ...(beside ? [beside[1](record)] : []),
  ];
  const rows = measured.map((record) => ({
    x: x.of(record.step) ?? null,
    ...Object.fromEntries(figures(record).map((value, i) => [series[i].key, value])),
  }));
  return (
    <div>
      <Figure
        title={title}
        unit={unit}
        rows={rows}
        series={series.map((line) => ({ ...line, dots: rows.length <= 60 }))}
        x={x}
        now={run.history.lastStep}
        axis={linearAxis(measured.flatMap(figures), 4, true)}
        formatValue={formatTick}
        marks={run.marks}
        readout={(step) => {
          const record = measured.findLast((candidate) => candidate.step <= step);
          if (!record || step > run.history.lastStep) return undefined;
          return told(record)
            .map((value, i) => `${labels[i]} ${formatMeasure(value)}`)
            .join(' · ');
        }}
        table={{
          head: ['step', ...labels],
          rows: measured.map((record) => [record.step, ...told(record).map(formatMeasure)]),
        }}
        csv={() =>
          [
            ['step', ...series.map(({ key }) => key)],
            ...measured.map((record) => [record.step, ...series.map(({ key }) => record[key])]),
          ]
            .map((line) => `${line.join(',')}\n`)
            .join('')
        }
      />
      <p className="help">{read}</p>
    </div>
  );
}
