// The two large charts: the loss with its two terms, and the perplexity of student and teacher.

import { useState } from 'react';
import { evaluationsCsv, perplexity } from '../run/evaluation';
import type { ShownRun } from '../run/shown-run';
import { regionsIn } from '../run/shown-run';
import { formatMeasure, formatShare } from '../shared/format';
import type { BackLine, ComparedRun } from './compare';
import { perplexityLine, stepLine, thinEvaluations } from './compare';
import { comparedCsv } from './csv';
import { Figure } from './Figure';
import { LOSS_LINES, lineStyle } from './line-style';
import type { PlotSeries } from './Plot';
import { linearAxis, logAxis } from './scale';
import { useComparedLoss } from './use-compared';
import { useChartView } from './view';
import type { XView } from './x-axis';

const MAX_POINTS = 500;

interface ChartProps {
  run: ShownRun;
  /** Runs to draw behind it. */
  compared: readonly ComparedRun[];
  x: XView;
}

/** The compared runs as lines of one chart. */
function useBehind(
  compared: readonly ComparedRun[],
  line: (run: ComparedRun) => Pick<BackLine, 'points' | 'raw'>,
): BackLine[] {
  const slots = useChartView((view) => view.slots);
  return compared.map((run) => ({
    id: run.id,
    label: run.label,
    ...lineStyle(slots[run.id] ?? 0),
    ...line(run),
  }));
}

const valuesOf = (lines: readonly BackLine[]) =>
  lines.flatMap(({ points }) => points.map(([, value]) => value));

const LOSS_COLUMNS = [
  'loss',
  'ce',
  'kd',
  'gradNorm',
  'learningRate',
  'lossScale',
  'tokens',
  'appliedTotal',
  'skippedTotal',
] as const;

export function LossChart({ run, compared, x }: ChartProps) {
  const [log, setLog] = useState(false);
  const smoothing = useChartView((view) => view.smoothing);
  const { history, config } = run;
  const distils = config.loss !== 'ce';
  // Without distillation the total is the cross-entropy, and one line shows both.
  const lines = LOSS_LINES.filter(({ measure }) => distils || measure === 'loss');
  const measures = lines.map(({ measure }) => measure);
  const rows = history.thin(measures, MAX_POINTS, { x: x.name, weight: smoothing });
  const measure = useComparedLoss();
  const behind = useBehind(compared, (other) =>
    stepLine(other.history, measure, {
      x: x.name,
      weight: other.means ? 0 : smoothing,
      limit: MAX_POINTS,
    }),
  );
  const values = [...rows.flatMap((row) => measures.map((name) => row[name])), ...valuesOf(behind)];
  const raw = lines.map(({ measure, colour }) => ({ key: measure, colour, width: 1, faint: true }));
  const smooth = lines.map(({ measure, name, ...style }): PlotSeries => {
    return { ...style, key: `${measure}Smooth`, label: name, value: measure };
  });
  const columns = x.name === 'seconds' ? ([...LOSS_COLUMNS, 'seconds'] as const) : LOSS_COLUMNS;
  const skipped = rows.filter((row) => !row.applied).map((row) => ({ step: row.step }));
  return (
    <Figure
      title="Loss"
      unit="nats per token"
      terms={{ title: 'loss', unit: 'nats' }}
      rows={rows}
      series={[...raw, ...smooth]}
      behind={behind}
      x={x}
      axis={log ? logAxis(values) : linearAxis(values, 4, true)}
      marks={run.marks}
      regions={regionsIn(run, 'loss')}
      triangles={skipped}
      log={{ on: log, toggle: () => setLog(!log) }}
      readout={(step) => {
        const point = history.atStep(step);
        if (!point || point.step !== step) return undefined;
        const total = `total ${formatMeasure(point.loss)}`;
        return distils
          ? `${total} · CE ${formatMeasure(point.ce)} · KD ${formatMeasure(point.kd)}`
          : total;
      }}
      table={{
        head: ['step', 'total', 'CE', 'KD', 'applied'],
        rows: rows.map((row) => [
          row.step,
          formatMeasure(row.loss),
          formatMeasure(row.ce),
          formatMeasure(row.kd),
          row.applied ? 'yes' : 'skipped',
        ]),
        note:
          `${rows.length} of ${history.length} steps. KD is at temperature T, without the factor ` +
          'T². The CSV has every step.',
      }}
      csv={() => comparedCsv(run, compared, (some) => some.csv(columns))}
    />
  );
}

export function PerplexityChart({ run, compared, x }: ChartProps) {
  const [log, setLog] = useState(true);
  const { evaluations } = run.history;
  const shown = thinEvaluations(evaluations, MAX_POINTS);
  const rows = shown.map((record) => ({
    x: x.of(record.step) ?? null,
    student: record.studentPerplexity ?? null,
  }));
  const behind = useBehind(compared, (other) =>
    perplexityLine(other.history, { x: x.name, limit: MAX_POINTS }),
  );
  const teacher = shown.findLast(
    (record) => record.teacherPerplexity !== undefined,
  )?.teacherPerplexity;
  const values = [...rows.map((row) => row.student), teacher, ...valuesOf(behind)];
  const last = shown[shown.length - 1];
  return (
    <Figure
      title="Perplexity"
      unit="held-out text"
      terms={{ title: 'perplexity', unit: 'heldOut' }}
      rows={rows}
      behind={behind}
      x={x}
      axis={log ? logAxis(values) : linearAxis(values, 4, true)}
      marks={run.marks}
      regions={regionsIn(run, 'perplexity')}
      log={{ on: log, toggle: () => setLog(!log) }}
      series={[
        {
          key: 'student',
          colour: 'var(--student)',
          width: 2.25,
          dots: rows.length <= 60,
          label: 'student',
        },
      ]}
      goal={
        teacher === undefined
          ? undefined
          : { value: teacher, label: `teacher ${formatMeasure(teacher)}`, colour: 'var(--teacher)' }
      }
      triangles={shown
        .filter((record) => record.failed > 0)
        .map((record) => ({ step: record.step, value: record.studentPerplexity }))}
      readout={(step) => {
        const record = evaluations.findLast((candidate) => candidate.step <= step);
        if (!record || step > run.history.lastStep) return undefined;
        const at = record.step === step ? '' : ` (evaluated at ${record.step})`;
        const failed = record.failed > 0 ? ` · ${record.failed} of ${record.tried} failed` : '';
        const teacher = formatMeasure(record.teacherPerplexity);
        return `student ${perplexity(record)} · teacher ${teacher}${failed}${at}`;
      }}
      table={{
        head: [
          'step',
          'student',
          'teacher',
          last?.klWords ? `KL, top ${last.klWords} tokens` : 'KL',
          'agreement',
          'batches failed',
        ],
        rows: shown.map((record) => [
          record.step,
          perplexity(record),
          formatMeasure(record.teacherPerplexity),
          formatMeasure(record.kl),
          formatShare(record.agreement),
          `${record.failed} of ${record.tried}`,
        ]),
        note: `${shown.length} of ${evaluations.length} evaluations. The CSV has all of them.`,
      }}
      csv={() => comparedCsv(run, compared, (some) => evaluationsCsv(some.evaluations))}
    />
  );
}
