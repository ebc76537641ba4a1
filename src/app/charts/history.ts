// A run's reports so far, in ring buffers outside React. Charts draw a thinned set of rows; the CSV
// has every row.

import type { EvaluationRecord, StepRecord } from '../../worker/protocol';

export type Measure = 'loss' | 'ce' | 'kd' | 'gradNorm' | 'learningRate' | 'lossScale';
export type SmoothMeasure = 'lossSmooth' | 'ceSmooth' | 'kdSmooth';
type Column =
  | 'step'
  | Measure
  | SmoothMeasure
  | 'applied'
  | 'appliedTotal'
  | 'skippedTotal'
  | 'tokens';

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
];

/** Weight of the past in the smoothed loss; about the last five steps count. */
const SMOOTHING = 0.8;

/** One row of a chart. A value that is not finite is null, which leaves a gap in the line. */
export type Row = { step: number; applied: boolean } & Partial<
  Record<Measure | SmoothMeasure, number | null>
>;

/** The reported values of one step. */
export type Point = { applied: boolean } & Record<Exclude<Column, 'applied'>, number>;

export class RunHistory {
  readonly evaluations: EvaluationRecord[] = [];
  private readonly columns: Record<Column, Float64Array>;
  private start = 0;
  private count = 0;

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
      for (const [smooth, measure] of SMOOTH_MEASURES)
        this.columns[smooth][at] = this.smooth(smooth, record[measure], last);
    }
  }

  /** Appends an evaluation. If its step comes again, it replaces the old one and all later ones. */
  appendEvaluation(record: EvaluationRecord): void {
    while (
      this.evaluations.length > 0 &&
      this.evaluations[this.evaluations.length - 1].step >= record.step
    ) {
      this.evaluations.pop();
    }
    this.evaluations.push(record);
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
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.value('step', middle) <= step) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? undefined : this.at(low - 1);
  }

  /** How many of the latest steps were skipped, without an applied one among them. */
  skippedInARow(): number {
    let skipped = 0;
    while (skipped < this.count && this.value('applied', this.count - 1 - skipped) === 0)
      skipped += 1;
    return skipped;
  }

  /**
   * At most `limit` rows. Each bucket of neighbouring steps keeps the rows with the lowest and the
   * highest `by`, so that peaks stay. A skipped step and a value that is not finite count as the
   * highest. Bucket borders do not move as rows arrive.
   */
  thin(by: Measure, limit: number): Row[] {
    let bucket = 1;
    while (Math.ceil(this.count / bucket) * Math.min(bucket, 2) > limit) bucket *= 2;
    const rows: Row[] = [];
    for (let from = 0; from < this.count; from += bucket) {
      const to = Math.min(from + bucket, this.count);
      let lowest = from;
      let highest = from;
      for (let index = from + 1; index < to; index++) {
        if (this.height(by, index) < this.height(by, lowest)) lowest = index;
        if (this.height(by, index) > this.height(by, highest)) highest = index;
      }
      // The newest row is always kept, or the line would end before the run does.
      if (to === this.count && lowest !== to - 1) highest = to - 1;
      rows.push(this.row(Math.min(lowest, highest)));
      if (lowest !== highest) rows.push(this.row(Math.max(lowest, highest)));
    }
    return rows;
  }

  /** All steps kept as comma-separated values, one row per step. */
  csv(columns: readonly (Measure | 'appliedTotal' | 'skippedTotal' | 'tokens')[]): string {
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

  private height(by: Measure, index: number): number {
    const value = this.value(by, index);
    return this.value('applied', index) === 0 || !Number.isFinite(value) ? Infinity : value;
  }

  private row(index: number): Row {
    const row: Row = {
      step: this.value('step', index),
      applied: this.value('applied', index) === 1,
    };
    for (const name of [...MEASURES, ...SMOOTH_MEASURES.map(([smooth]) => smooth)]) {
      const value = this.value(name, index);
      row[name] = Number.isFinite(value) ? value : null;
    }
    return row;
  }

  /** A value that is not finite stays as it is and does not affect later values. */
  private smooth(name: SmoothMeasure, value: number, index: number): number {
    if (!Number.isFinite(value)) return value;
    for (let before = index - 1; before >= 0; before--) {
      const past = this.value(name, before);
      if (Number.isFinite(past)) return SMOOTHING * past + (1 - SMOOTHING) * value;
    }
    return value;
  }
}
