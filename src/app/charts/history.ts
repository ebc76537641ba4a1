// A run's reports so far, in ring buffers outside React. Charts draw a thinned set of rows; the CSV
// has every row.

import type { EvaluationRecord, SampleRecord, StepRecord } from '../../worker/protocol';
import { thinIndices } from './thin';

export type Measure = 'loss' | 'ce' | 'kd' | 'gradNorm' | 'learningRate' | 'lossScale';
export type SmoothMeasure = 'lossSmooth' | 'ceSmooth' | 'kdSmooth';
type Column =
  | 'step'
  | Measure
  | SmoothMeasure
  | 'applied'
  | 'appliedTotal'
  | 'skippedTotal'
  | 'tokens'
  | 'tokensTotal'
  | 'seconds';

const MEASURES: readonly Measure[] = ['loss', 'ce', 'kd', 'gradNorm', 'learningRate', 'lossScale'];
const SMOOTH_MEASURES: readonly [SmoothMeasure, Measure][] = [
  ['lossSmooth', 'loss'],
  ['ceSmooth', 'ce'],
  ['kdSmooth', 'kd'],
];
const COLUMNS: readonly Column[] = [
  'step',
  ...MEASURES,
  ...SMOOTH_MEASURES.map(([name]) => name),
  'applied',
  'appliedTotal',
  'skippedTotal',
  'tokens',
  'tokensTotal',
  'seconds',
];

/** Weight of the past in a smoothed curve; about the last five steps count. */
export const SMOOTHING = 0.8;

/**
 * One row of a chart. `x` is its place on the horizontal axis, null if that is unknown. A value
 * that is not finite is null, which leaves a gap in the line.
 */
export type Row = { step: number; x: number | null; applied: boolean } & Partial<
  Record<Measure | SmoothMeasure, number | null>
>;

/** What the charts have along their horizontal axis, and the column that holds it. */
const X_COLUMNS = { step: 'step', tokens: 'tokensTotal', seconds: 'seconds' } as const;
export type XName = keyof typeof X_COLUMNS;

/** The reported values of one step. */
export type Point = { applied: boolean } & Record<Exclude<Column, 'applied'>, number>;

export class RunHistory {
  readonly evaluations: EvaluationRecord[] = [];
  /** What was said at evaluations and between them. */
  readonly samples: SampleRecord[] = [];
  private readonly columns: Record<Column, Float64Array>;
  private start = 0;
  private count = 0;
  private weight = SMOOTHING;

  /** Keeps the last `capacity` steps. */
  constructor(private readonly capacity: number) {
    this.columns = Object.fromEntries(
      COLUMNS.map((name) => [name, new Float64Array(capacity)]),
    ) as typeof this.columns;
  }

  get length(): number {
    return this.count;
  }

  get lastStep(): number {
    return this.count === 0 ? 0 : this.value('step', this.count - 1);
  }

  /**
   * Appends steps. A step that comes again, because the run was recovered, replaces the old one and
   * all later ones.
   */
  append(records: readonly StepRecord[]): void {
    for (const record of records) {
      while (this.count > 0 && this.lastStep >= record.step) this.count -= 1;
      if (this.count === this.capacity) {
        this.start = (this.start + 1) % this.capacity;
        this.count -= 1;
      }
      this.count += 1;
      const last = this.count - 1;
      const at = (this.start + last) % this.capacity;
      for (const name of MEASURES) this.columns[name][at] = record[name];
      this.columns.step[at] = record.step;
      this.columns.applied[at] = record.applied ? 1 : 0;
      this.columns.appliedTotal[at] = record.appliedTotal;
      this.columns.skippedTotal[at] = record.skippedTotal;
      this.columns.tokens[at] = record.tokens;
      const tokensBefore = last > 0 ? this.value('tokensTotal', last - 1) : 0;
      this.columns.tokensTotal[at] = tokensBefore + record.tokens;
      this.columns.seconds[at] = record.seconds ?? Number.NaN;
      for (const [smooth, measure] of SMOOTH_MEASURES)
        this.columns[smooth][at] = this.smooth(smooth, record[measure], last);
    }
  }

  /** Appends an evaluation. If its step comes again, it replaces the old one and all later ones. */
  appendEvaluation(record: EvaluationRecord): void {
    replaceFrom(this.evaluations, record);
    const { step, sample } = record;
    if (sample) this.appendSample({ step, sample });
  }

  /** Appends a sample, which replaces those of its step and of all later ones. */
  appendSample(record: SampleRecord): void {
    replaceFrom(this.samples, record);
  }

  /** Row `index` of those kept, 0 for the oldest. @throws RangeError */
  at(index: number): Point {
    if (index < 0 || index >= this.count)
      throw new RangeError(`at: row ${index} of a history of ${this.count} rows`);
    const entries = COLUMNS.map((name) => [
      name,
      name === 'applied' ? this.value(name, index) === 1 : this.value(name, index),
    ]);
    return Object.fromEntries(entries) as Point;
  }

  last(): Point | undefined {
    return this.count === 0 ? undefined : this.at(this.count - 1);
  }

  /** The row of the last step kept that is not after `step`. */
  atStep(step: number): Point | undefined {
    return this.rowAt(step, 'step');
  }

  /** The last row kept whose place on this axis is not after `x`. */
  rowAt(x: number, name: XName): Point | undefined {
    const column = X_COLUMNS[name];
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.value(column, middle) <= x) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? undefined : this.at(low - 1);
  }

  /**
   * Steps, tokens or seconds of the run after `step`; undefined if the history has none. Seconds
   * are known only if the records have them.
   */
  xOf(step: number, name: XName): number | undefined {
    if (name === 'step' || step === 0) return step;
    const row = this.atStep(step);
    const x = row?.step === step ? row[X_COLUMNS[name]] : Number.NaN;
    return Number.isFinite(x) ? x : undefined;
  }

  /** The place of the first row kept. */
  firstX(name: XName): number | undefined {
    return this.count === 0 ? undefined : this.xOf(this.value('step', 0), name);
  }

  /** How many of the latest steps were skipped, without an applied one among them. */
  skippedInARow(): number {
    let skipped = 0;
    while (skipped < this.count && this.value('applied', this.count - 1 - skipped) === 0)
      skipped += 1;
    return skipped;
  }

  /**
   * At most `limit` rows, among them the extremes of each of the measures `by`, and of neighbours
   * that were skipped the first. `weight` is that of the past in smoothed curves; if it is not
   * given, they stay as they are.
   */
  thin(
    by: readonly Measure[],
    limit: number,
    { x = 'step', weight }: { x?: XName; weight?: number } = {},
  ): Row[] {
    if (weight !== undefined) this.smoothAll(weight);
    const heights = by.map(
      (measure) => (index: number) => finite(this.value(measure, index)) ?? Number.NaN,
    );
    if (this.hasSkipped()) heights.push((index) => 1 - this.value('applied', index));
    return thinIndices(this.count, limit, heights).map((index) => this.row(index, x));
  }

  /** All steps kept as comma-separated values, one row per step. */
  csv(
    columns: readonly (Measure | 'appliedTotal' | 'skippedTotal' | 'tokens' | 'seconds')[],
  ): string {
    const lines = [['step', ...columns, 'applied'].join(',')];
    for (let index = 0; index < this.count; index++) {
      const values = columns.map((name) => String(this.value(name, index)));
      lines.push(
        [this.value('step', index), ...values, this.value('applied', index) === 1].join(','),
      );
    }
    return `${lines.join('\n')}\n`;
  }

  private value(name: Column, index: number): number {
    return this.columns[name][(this.start + index) % this.capacity];
  }

  private hasSkipped(): boolean {
    for (let index = 0; index < this.count; index++)
      if (this.value('applied', index) === 0) return true;
    return false;
  }

  private row(index: number, x: XName): Row {
    const row: Row = {
      step: this.value('step', index),
      x: finite(this.value(X_COLUMNS[x], index)),
      applied: this.value('applied', index) === 1,
    };
    for (const name of [...MEASURES, ...SMOOTH_MEASURES.map(([smooth]) => smooth)])
      row[name] = finite(this.value(name, index));
    return row;
  }

  /** Smooths all that is kept again, unless it is smoothed with this weight already. */
  private smoothAll(weight: number): void {
    if (weight === this.weight) return;
    this.weight = weight;
    for (const [smooth, measure] of SMOOTH_MEASURES) {
      for (let index = 0; index < this.count; index++) {
        const at = (this.start + index) % this.capacity;
        this.columns[smooth][at] = this.smooth(smooth, this.columns[measure][at], index);
      }
    }
  }

  /** A value that is not finite stays as it is and does not affect later values. */
  private smooth(name: SmoothMeasure, value: number, index: number): number {
    if (!Number.isFinite(value)) return value;
    for (let before = index - 1; before >= 0; before--) {
      const past = this.value(name, before);
      if (Number.isFinite(past)) return this.weight * past + (1 - this.weight) * value;
    }
    return value;
  }
}

/** Appends a record, which replaces that of its step and of all later ones. */
function replaceFrom<Item extends { step: number }>(list: Item[], record: Item): void {
  while (list.length > 0 && list[list.length - 1].step >= record.step) list.pop();
  list.push(record);
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
