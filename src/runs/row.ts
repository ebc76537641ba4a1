// A run as one row of a table: its settings, how far it came, its last figures and a thumbnail of
// its curve. Derived from its journal; what a person wrote about it is in its label.

import type { Config } from '../config';
import { checkConfig, DEFAULTS } from '../config';
import { type Journal, VERSION } from './journal';
import { nameOf } from './names';
import { type Speed, speedOf } from './speed';

/** What a person says about a run. Kept in a file of its own. */
export interface Label {
  /** Instead of the name that follows from the id. */
  name?: string;
  note?: string;
  /** Never dropped to save room. */
  pinned?: boolean;
  /** ISO date of when it was deleted; it can be brought back until it is dropped (`tidy`). */
  deleted?: string;
}

export interface RunRow {
  id: string;
  name: string;
  label: Label;
  /** ISO date of the start. */
  time: string;
  config: Config;
  /** unreadable: made by a later version, or its journal is damaged. */
  state: 'stopped' | 'finished' | 'unreadable';
  /** A tab was working on it when this row was made. */
  open: boolean;
  /** Steps done, and the step of the last checkpoint. */
  step: number;
  checkpoint?: number;
  /** On disk, and of those the checkpoint before the last. */
  bytes: number;
  spareBytes: number;
  /** Of the last evaluation, as in EvaluationRecord. */
  perplexity?: number;
  teacherPerplexity?: number;
  kl?: number;
  agreement?: number;
  /** Of the second student, if the run has one. */
  twinPerplexity?: number;
  /** Trained, without pauses. */
  seconds: number;
  /** Over the whole run. */
  tokensPerSecond?: number;
  /** Of the adapter, in this run. */
  speed?: Speed;
  adapter: string;
  dtype: 'f16' | 'f32';
  data: string;
  /** It reads the user's own files. */
  own: boolean;
  /** Mean losses of equal stretches of the run so far, at most CURVE_POINTS. */
  curve: number[];
}

const CURVE_POINTS = 32;

export function rowOf(
  id: string,
  { settings, steps, evaluations, twin, timings, changes }: Journal,
  label: Label,
  disk: { checkpoint?: number; bytes: number; spareBytes: number; open: boolean },
): RunRow {
  const given = { ...DEFAULTS, ...settings?.config };
  for (const { changes: values } of changes) Object.assign(given, values);
  const isValid = checkConfig(given).length === 0;
  const config = isValid ? given : DEFAULTS;
  const step = steps.at(-1)?.step ?? 0;
  // Killed after its last step, it goes on from the checkpoint before that.
  const done = Math.min(step, disk.checkpoint ?? step);
  const readable = settings !== undefined && !(settings.version > VERSION) && isValid;
  const evaluation = evaluations.at(-1);
  const seconds = timings.at(-1)?.seconds ?? 0;
  const tokens = steps.reduce((sum, record) => sum + (record.tokens ?? 0), 0);
  const finite = (value?: number) => (Number.isFinite(value) ? value : undefined);
  return {
    id,
    name: label.name ?? nameOf(id),
    label,
    time: settings?.time ?? '',
    config,
    state: readable ? (done >= config.train_steps ? 'finished' : 'stopped') : 'unreadable',
    step,
    ...disk,
    perplexity: finite(evaluation?.studentPerplexity),
    teacherPerplexity: finite(evaluation?.teacherPerplexity),
    kl: finite(evaluation?.kl),
    agreement: finite(evaluation?.agreement),
    twinPerplexity: finite(twin.evaluations.at(-1)?.studentPerplexity),
    seconds,
    tokensPerSecond: seconds > 0 ? tokens / seconds : undefined,
    speed: speedOf(settings?.stepFlops, steps),
    adapter: settings?.adapter?.name ?? '',
    dtype: settings?.dtype ?? 'f32',
    data: settings?.data?.name ?? '',
    own: settings?.data?.own ?? false,
    curve: curveOf(steps.map(({ loss }) => loss)),
  };
}

/** Means of equal stretches, without what is not finite. */
export function curveOf(losses: readonly number[]): number[] {
  const points = Math.min(CURVE_POINTS, losses.length);
  const curve: number[] = [];
  for (let i = 0; i < points; i++) {
    const from = Math.floor((i * losses.length) / points);
    const to = Math.floor(((i + 1) * losses.length) / points);
    const stretch = losses.slice(from, to).filter(Number.isFinite);
    if (stretch.length > 0)
      curve.push(stretch.reduce((sum, loss) => sum + loss, 0) / stretch.length);
  }
  return curve;
}

/** What is dropped to come within a budget, in this order. */
export interface Drop {
  /** The checkpoint before the last, or the whole run. */
  what: 'spare' | 'run';
  id: string;
}

/**
 * First what was deleted, then the checkpoints before the last, then whole finished runs, each the
 * oldest first. Never a pinned run, one that is open, or the last checkpoint of one that can go on.
 * @param open ids of runs that a tab is working on
 */
export function toDrop(rows: readonly RunRow[], budget: number, open: ReadonlySet<string>): Drop[] {
  const drops: Drop[] = [];
  let over = rows.reduce((sum, { bytes }) => sum + bytes, 0) - budget;
  const oldest = rows
    .filter(({ id, label, state }) => !label.pinned && !open.has(id) && state !== 'unreadable')
    .sort((a, b) => a.time.localeCompare(b.time));
  const gone = new Set<string>();
  const drop = (what: Drop['what'], candidates: readonly RunRow[]) => {
    for (const { id, bytes, spareBytes } of candidates) {
      if (over <= 0) return;
      const freed = what === 'spare' ? spareBytes : bytes;
      if (gone.has(id) || freed === 0) continue;
      drops.push({ what, id });
      over -= freed;
      if (what === 'run') gone.add(id);
    }
  };
  drop(
    'run',
    oldest.filter(({ label }) => label.deleted !== undefined),
  );
  const spared = oldest.filter(({ id }) => !gone.has(id));
  drop('spare', spared);
  const dropped = new Set(drops.filter(({ what }) => what === 'spare').map(({ id }) => id));
  const left = spared.map((row) =>
    dropped.has(row.id) ? { ...row, bytes: row.bytes - row.spareBytes } : row,
  );
  drop(
    'run',
    left.filter(({ state }) => state === 'finished'),
  );
  return drops;
}
