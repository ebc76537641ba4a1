// A workload's inputs and results: rows of tables, figures with their targets, and the agreement
// that was checked before timing.

import type { ProfileReport } from '../../src/distill/profile/profile';
import type { Gpu } from '../../src/gpu/device';
import type { Timing } from './interleave';
import type { Peer } from './peer';

export interface Bench {
  gpu: Gpu;
  peers: readonly Peer[];
  /** Timed turns of each contestant; each workload has its own default. */
  turns?: number;
  /** Reports progress. */
  log(line: string): void;
}

export interface Row extends Pick<Timing, 'name' | 'median' | 'min' | 'milliseconds'> {
  /** Figures derived from the time, e.g. { 'GFLOP/s': 5.1 }. */
  figures?: Record<string, number>;
}

/** Rows that did the same work. */
export interface Table {
  title: string;
  rows: Row[];
  /**
   * Tables whose grids share a title are printed as one table of `figure`: one line per table, one
   * column per contestant.
   */
  grid?: { title: string; row: string; figure: string };
}

/** A figure, with the project's target if there is one. */
export interface Figure {
  what: string;
  value: number;
  /** The target. */
  atLeast?: number;
  atMost?: number;
}

export interface Agreement {
  what: string;
  /** Why the limit is what it is. */
  reason: string;
  /** Each contestant's relative difference from the first. */
  rows: { name: string; difference: number; limit: number }[];
}

export interface Result {
  workload: string;
  title: string;
  agreement: Agreement[];
  tables: Table[];
  figures: Figure[];
  /** Our step's time, kernel by kernel. */
  profile?: ProfileReport;
  /** Who could not take part and why; other remarks. */
  notes: string[];
}

/** Contestants computed different things, so comparing their times is meaningless. */
export class Disagreement extends Error {
  override name = 'Disagreement';
}

/** @throws Disagreement if a row's difference exceeds its limit or is not a number */
export function requireAgreement(agreement: Agreement): Agreement {
  const far = agreement.rows.filter(({ difference, limit }) => !(difference <= limit));
  if (far.length === 0) return agreement;
  const differences = far.map(
    ({ name, difference, limit }) =>
      `${name} differs by ${difference.toExponential(1)}, limit ${limit.toExponential()}`,
  );
  throw new Disagreement(
    `${agreement.what}: ${differences.join('; ')} (${agreement.reason}). ` +
      'Nothing is timed: find out who is wrong first.',
  );
}

/** The largest relative difference between corresponding numbers. */
export const furthest = (values: readonly number[], from: readonly number[]): number =>
  values.length === from.length
    ? Math.max(...values.map((value, i) => Math.abs(value - from[i]) / Math.abs(from[i])))
    : Number.NaN;

/** ‖a − b‖ / ‖b‖ */
export function distance(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.NaN;
  let [apart, size] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    apart += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(apart / size);
}
