// What a workload is given, and what it hands back: a table's rows, figures against their targets,
// and the agreement that came first.

import type { ProfileReport } from '../../src/distill/profile/profile';
import type { Gpu } from '../../src/gpu/device';
import type { Timing } from './interleave';
import type { Peer } from './peer';

export interface Bench {
  gpu: Gpu;
  peers: readonly Peer[];
  /** Counted turns of each contestant; each workload has its own number where none is given. */
  turns?: number;
  /** What is going on, for a person who waits. */
  log(line: string): void;
}

export interface Row extends Pick<Timing, 'name' | 'median' | 'min' | 'milliseconds'> {
  /** What the time comes to, e.g. { 'GFLOP/s': 5.1 }. */
  figures?: Record<string, number>;
}

/** Rows that did the same work. */
export interface Table {
  title: string;
  rows: Row[];
  /**
   * Tables whose grids share a title are printed as one: a line each, a column a contestant, one
   * figure of theirs.
   */
  grid?: { title: string; row: string; figure: string };
}

/** A figure that the project promises something about, or that says where it stands. */
export interface Figure {
  what: string;
  value: number;
  /** What is promised; absent where nothing is. */
  atLeast?: number;
  atMost?: number;
}

export interface Agreement {
  what: string;
  /** Why the limit is what it is. */
  reason: string;
  /** How far each is from the first, relative. */
  rows: { name: string; difference: number; limit: number }[];
}

export interface Result {
  workload: string;
  title: string;
  agreement: Agreement[];
  tables: Table[];
  figures: Figure[];
  /** Where our own step goes, kernel by kernel. */
  profile?: ProfileReport;
  /** Who could not take part, and why; what else belongs to the numbers. */
  notes: string[];
}

/** Contestants computed different things: their times would compare nothing. */
export class Disagreement extends Error {
  override name = 'Disagreement';
}

/** @throws Disagreement if a row is further away than its limit, or not a number */
export function requireAgreement(agreement: Agreement): Agreement {
  const far = agreement.rows.filter(({ difference, limit }) => !(difference <= limit));
  if (far.length === 0) return agreement;
  const said = far.map(
    ({ name, difference, limit }) =>
      `${name} is ${difference.toExponential(1)} away, ${limit.toExponential()} allowed`,
  );
  throw new Disagreement(
    `${agreement.what}: ${said.join('; ')} (${agreement.reason}). No time is printed: find out who is wrong first.`,
  );
}

/** Largest relative difference of numbers that belong together. */
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
