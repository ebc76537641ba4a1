// The two large charts: the loss with its two terms, and the perplexity of student and teacher.

import { useState } from 'react';
import type { EvaluationRecord } from '../../worker/protocol';
import { evaluationsCsv, perplexity } from '../run/evaluation';
import type { ShownRun } from '../run/shown-run';
import { formatMeasure, formatShare } from '../shared/format';
import { Figure } from './Figure';
import type { PlotSeries } from './Plot';
import { linearAxis, logAxis } from './scale';

const MAX_POINTS = 500;

/** Every n-th evaluation, and the last one, so that at most about MAX_POINTS are drawn. */
function thinEvaluations(evaluations: readonly EvaluationRecord[]): EvaluationRecord[] {
  const stride = Math.ceil(evaluations.length / MAX_POINTS);
  return evaluations.filter((_, index) => index % stride === 0 || index === evaluations.length - 1);
}

export function LossChart({ run }: { run: ShownRun }) {
  const [log, setLog] = useState(false);
  const { history, config } = run;
  const rows = history.thin('loss', MAX_POINTS);
  const distils = config.loss !== 'ce';
  const losses = rows.flatMap((row) => (distils ? [row.loss, row.ce, row.kd] : [row.loss]));
  const axis = log ? logAxis(losses) : linearAxis(losses, 4, true);
  const last = history.last();
  const total: PlotSeries[] = [
    { key: 'loss', colour: 'var(--student)', width: 1, faint: true },
    {
      key: 'lossSmooth',
      colour: 'var(--student)',
      width: 2.25,
      label: `total ${formatMeasure(last?.loss)}`,
    },
  ];
  // Without distillation the total is the cross-entropy, and one line shows both.
  const terms: PlotSeries[] = distils
    ? [
        { key: 'ce', colour: 'var(--ce)', width: 1, faint: true },
        {
          key: 'ceSmooth',
          colour: 'var(--ce)',
          width: 1.5,
          dash: '7 2',
          label: `CE ${formatMeasure(last?.ce)}`,
        },
        { key: 'kd', colour: 'var(--kd)', width: 1, faint: true },
        {
          key: 'kdSmooth',
          colour: 'var(--kd)',
          width: 1.5,
          dash: '2 2',
          label: `KD ${formatMeasure(last?.kd)}`,
        },
      ]
    : [];
  const skipped = rows.filter((row) => !row.applied).map((row) => ({ step: row.step }));
  return (
    <Figure
      title="Loss"
      unit="nats per token"
      rows={rows}
      series={[...terms, ...total]}
      lastStep={config.train_steps}
      axis={axis}
      marks={run.marks}
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
      csv={() =>
        history.csv([
          'loss',
          'ce',
          'kd',
          'gradNorm',
          'learningRate',
          'lossScale',
          'tokens',
          'appliedTotal',
          'skippedTotal',
        ])
      }
    />
  );
}

export function PerplexityChart({ run }: { run: ShownRun }) {
  const [log, setLog] = useState(true);
  const { evaluations } = run.history;
  const shown = thinEvaluations(evaluations);
  const rows = shown.map((record) => ({
    step: record.step,
    student: record.studentPerplexity ?? null,
  }));
  const teacher = shown.findLast(
    (record) => record.teacherPerplexity !== undefined,
  )?.teacherPerplexity;
  const values = [...rows.map((row) => row.student), teacher];
  const last = shown[shown.length - 1];
  return (
    <Figure
      title="Perplexity"
      unit="held-out text"
      rows={rows}
      lastStep={run.config.train_steps}
      axis={log ? logAxis(values) : linearAxis(values, 4, true)}
      marks={run.marks}
      log={{ on: log, toggle: () => setLog(!log) }}
      series={[
        {
          key: 'student',
          colour: 'var(--student)',
          width: 2.25,
          dots: rows.length <= 60,
          label: `student ${formatMeasure(last?.studentPerplexity)}`,
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
      csv={() => evaluationsCsv(evaluations)}
    />
  );
}
