// What the charts have along their horizontal axis: steps, tokens or seconds, on a linear or a
// logarithmic scale. Turns a step of a run into a place on it, and back. Pure.

import { formatTick } from '../shared/format';
import type { RunHistory, XName } from './history';
import { type Axis, linearAxis, logWithin, stepAxis } from './scale';

export const X_NAMES: readonly XName[] = ['step', 'tokens', 'seconds'];

/** The horizontal axis of a chart, for the run that the chart is about. */
export interface XView {
  name: XName;
  /** With about `count` ticks. */
  axis(count: number): Axis;
  /** Where the axis begins and ends; a logarithmic one begins after 0. */
  start: number;
  end: number;
  /** The place of the state after this step; undefined if it is unknown, or not on the axis. */
  of(step: number): number | undefined;
  /** The step that the run had reached at this place; undefined before its first one. */
  stepAt(x: number): number | undefined;
  /** The nearest place that a crosshair can stand on. */
  snap(x: number): number;
  /** "step 40", "20k tokens", "12.5 s" */
  text(x: number): string;
}

const TEXTS: Record<XName, (x: number) => string> = {
  step: (x) => `step ${x}`,
  tokens: (x) => `${formatTick(x)} tokens`,
  seconds: (x) => `${x.toFixed(1)} s`,
};

/** The axis of a chart that always shows steps. */
export const stepView = (end: number): XView => ({
  name: 'step',
  axis: (count) => stepAxis(end, count),
  start: 0,
  end,
  of: (step) => step,
  stepAt: (x) => x,
  snap: (x) => Math.min(Math.max(Math.round(x), 0), end),
  text: TEXTS.step,
});

/**
 * The axis for `history`, long enough for the whole run and for all that is compared with it.
 * `steps` and `tokensPerStep` are what the run plans.
 */
export function xView(
  name: XName,
  log: boolean,
  history: RunHistory,
  plan: { steps: number; tokensPerStep?: number },
  compared: readonly RunHistory[],
): XView {
  const reached = (run: RunHistory) => run.xOf(run.lastStep, name) ?? 0;
  const planned = {
    step: plan.steps,
    tokens: plan.steps * (plan.tokensPerStep ?? 0),
    // How long a run will take is not known.
    seconds: 0,
  }[name];
  const last = Math.max(planned, reached(history), ...compared.map(reached));
  const starts = [history, ...compared].map((run) => run.firstX(name) ?? 0);
  const first = Math.min(last, ...starts.filter((x) => x > 0));
  const axis = (count: number): Axis => {
    if (log && last > 0) return logWithin(first, last, count);
    // A run's seconds grow while it is drawn: a rounded end keeps the axis still.
    return name === 'seconds' ? linearAxis([0, last], count, true) : stepAxis(last, count);
  };
  const [start, end] = axis(4).domain;
  return {
    name,
    axis,
    start,
    end,
    of: (step) => {
      const x = history.xOf(step, name);
      return x === undefined || (log && x <= 0) ? undefined : x;
    },
    stepAt: (x) => (name === 'step' ? x : history.rowAt(x, name)?.step),
    snap: (x) => Math.min(Math.max(name === 'seconds' ? x : Math.round(x), 0), end),
    text: TEXTS[name],
  };
}

/** Where steps `from` to `to` lie; what is unknown or not on the axis, at its ends. */
export const stretchOn = (
  { of, start, end }: XView,
  { from, to }: { from: number; to: number },
): [left: number, right: number] => [of(from) ?? start, of(to) ?? end];
