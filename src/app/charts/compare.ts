// The runs that the charts draw behind the current one, as lines. Pure.

import type { Config, Field, FieldName } from '../../config';
import { FIELDS } from '../../config';
import type { EvaluationRecord, StepRecord } from '../../worker/protocol';
import type { Measure, SmoothMeasure, XName } from './history';
import { RunHistory } from './history';
import type { LinePoint } from './line-path';
import type { LineStyle } from './line-style';
import { thinIndices } from './thin';

/** A run to compare with. `id` is its own for good; the charts show `label` at the line's end. */
export interface ComparedRun {
  id: string;
  label: string;
  history: RunHistory;
  /** Without it the charts cannot say whether it minimised what the current run does. */
  config?: Config;
  /** Its steps are means of longer stretches, which are smooth already. */
  means?: boolean;
}

/** The id of a run's second student, as a run to compare with. */
export const twinId = (id: string): string => `${id} twin`;

/** A compared run in one chart. */
export interface BackLine extends LineStyle {
  id: string;
  label: string;
  points: readonly LinePoint[];
  /** What was measured, drawn faintly behind smoothed `points`. */
  raw?: readonly LinePoint[];
}

/** A run from its stored records. */
export function comparedRun(
  id: string,
  label: string,
  records: { steps: readonly StepRecord[]; evaluations: readonly EvaluationRecord[] },
  config?: Config,
): ComparedRun {
  const history = new RunHistory(Math.max(1, records.steps.length));
  history.append(records.steps);
  for (const record of records.evaluations) history.appendEvaluation(record);
  return { id, label, history, config };
}

const LOSS_FIELDS = [
  'loss',
  'kd_loss',
  'kd_beta',
  'alpha',
  'temperature',
  'label_smoothing',
  'z_loss',
] as const satisfies readonly FieldName[];

/** True if the total loss of both means the same, so that their curves can be compared. */
export const sameLoss = (a: Config, b: Config | undefined): boolean =>
  b !== undefined && LOSS_FIELDS.every((name) => a[name] === b[name]);

/**
 * What of a run's settings is not as in `base`: "α 0.2, Steps 400"; at most `most` of them. A twin
 * beside a run changes nothing in it.
 */
export function differences(config: Config, base: Config, most = 3): string {
  const names = (Object.keys(FIELDS) as FieldName[]).filter(
    (name) => name !== 'twin' && name !== 'twin_pace' && config[name] !== base[name],
  );
  const listed = names.slice(0, most).map((name) => {
    const { symbol, label }: Field = FIELDS[name];
    return `${symbol ?? label} ${config[name] === '' ? '(empty)' : config[name]}`;
  });
  const more = names.length - listed.length;
  return [...listed, ...(more > 0 ? [`${more} more`] : [])].join(', ');
}

/** What was drawn last of a history that does not grow; by what was asked for. */
const drawn = new WeakMap<RunHistory, Map<string, readonly LinePoint[]>>();

function remembered(
  history: RunHistory,
  key: string,
  make: () => readonly LinePoint[],
): readonly LinePoint[] {
  const lines = drawn.get(history) ?? new Map<string, readonly LinePoint[]>();
  drawn.set(history, lines);
  const full = `${key} ${history.length} ${history.evaluations.length}`;
  const points = lines.get(full) ?? make();
  // Only the latest view is worth keeping: a slider that is dragged asks for many.
  for (const other of lines.keys())
    if (other.startsWith(`${key.split(' ')[0]} `)) lines.delete(other);
  lines.set(full, points);
  return points;
}

/** The curve of a measure over steps, smoothed with `weight` and as it was measured. */
export function stepLine(
  history: RunHistory,
  measure: 'loss' | 'ce' | 'kd',
  { x, weight, limit }: { x: XName; weight: number; limit: number },
): Pick<BackLine, 'points' | 'raw'> {
  const line = (key: Measure | SmoothMeasure) =>
    remembered(history, `${key} ${x} ${weight} ${limit}`, () =>
      history.thin([measure], limit, { x, weight }).flatMap((row): LinePoint[] => {
        return row.x === null ? [] : [[row.x, row[key] ?? null]];
      }),
    );
  return { points: line(`${measure}Smooth`), raw: line(measure) };
}

/** The curve of the student's perplexity over evaluations. */
export function perplexityLine(
  history: RunHistory,
  { x, limit }: { x: XName; limit: number },
): Pick<BackLine, 'points'> {
  const points = remembered(history, `perplexity ${x} ${limit}`, () =>
    thinEvaluations(history.evaluations, limit).flatMap((record): LinePoint[] => {
      const at = history.xOf(record.step, x);
      return at === undefined ? [] : [[at, record.studentPerplexity ?? null]];
    }),
  );
  return { points };
}

/** At most `limit` evaluations, among them those of extreme perplexity, and failed ones. */
export function thinEvaluations(
  evaluations: readonly EvaluationRecord[],
  limit: number,
): EvaluationRecord[] {
  const indices = thinIndices(evaluations.length, limit, [
    (index) => evaluations[index].studentPerplexity ?? Number.NaN,
    (index) => evaluations[index].failed,
  ]);
  return indices.map((index) => evaluations[index]);
}

/** The value of the last point that is not after `x` and has one; undefined outside the line. */
export function valueAt(points: readonly LinePoint[], x: number): number | undefined {
  if (points.length === 0 || x > points[points.length - 1][0]) return undefined;
  const point = points.findLast(([at, value]) => at <= x && value !== null);
  return point?.[1] ?? undefined;
}
