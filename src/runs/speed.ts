// How fast an adapter computed earlier runs, and what that says about the time of another. Pure.

import type { Config, FieldName } from '../config';
import type { StepRecord } from '../distill/records';

/** What a run measured of its adapter. */
export interface Speed {
  /** Floating-point operations of a step. */
  step: number;
  /** Of those a second, evaluations and all else that a run does included. */
  perSecond: number;
}

/** The first steps wait for kernels to be compiled, and fewer steps say little. */
const LEAST_STEPS = 10;

/** @returns undefined where too few steps were timed */
export function speedOf(step: number | undefined, steps: readonly StepRecord[]): Speed | undefined {
  const timed = steps.filter(({ seconds }) => Number.isFinite(seconds));
  const [first, last] = [timed[0], timed.at(-1)];
  if (!step || !first || !last || last.step - first.step < LEAST_STEPS) return undefined;
  const perSecond =
    ((last.step - first.step) * step) / (Number(last.seconds) - Number(first.seconds));
  return Number.isFinite(perSecond) && perSecond > 0 ? { step, perSecond } : undefined;
}

/** A small step is mostly overhead: an adapter's speed holds for steps of about that size. */
const ALIKE = 4;

/** Settings whose time the count of operations leaves out: they must be the same. */
const SAME = ['twin', 'teacher_engine', 'teacher_cache'] as const satisfies FieldName[];

/** What decides whether a run is like another. */
interface Timed {
  adapter: string;
  dtype: 'f16' | 'f32';
  time: string;
  config: Config;
  speed?: Speed;
}

/** The kept run whose step is nearest in size, on the same adapter, if one is near enough. */
export function runAlike<Row extends Timed>(
  rows: readonly Row[],
  { adapter, dtype, config, step }: Pick<Timed, 'adapter' | 'dtype' | 'config'> & { step: number },
): (Row & { speed: Speed }) | undefined {
  const apart = ({ speed }: { speed: Speed }) => Math.abs(Math.log(speed.step / step));
  return rows
    .filter((row): row is Row & { speed: Speed } => row.speed !== undefined)
    .filter((row) => row.adapter === adapter && row.dtype === dtype)
    .filter((row) => SAME.every((name) => row.config[name] === config[name]))
    .filter((row) => apart(row) <= Math.log(ALIKE))
    .sort((a, b) => apart(a) - apart(b) || b.time.localeCompare(a.time))
    .at(0);
}
