// Axis domains with few, round ticks. They are computed from what is drawn and rounded outwards, so
// that an axis holds still while a line moves within it.

export interface Axis {
  scale: 'linear' | 'log';
  domain: [number, number];
  ticks: number[];
}

/** With nothing to draw, ticks would be figures that nobody measured. */
const EMPTY: Axis = { scale: 'linear', domain: [0, 1], ticks: [] };

/**
 * A linear axis over `values` with about `count` steps; from 0 where `fromZero`. Values that are
 * not finite do not count.
 */
export function linearAxis(
  values: Iterable<number | null | undefined>,
  count = 4,
  fromZero = false,
): Axis {
  let [low, high] = extent(values, -Infinity);
  if (low > high) return EMPTY;
  if (fromZero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  if (low === high) [low, high] = low === 0 ? [0, 1] : [Math.min(0, 2 * low), Math.max(0, 2 * low)];
  const step = niceStep((high - low) / count);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  // A multiplication leaves 0.30000000000000004; twelve digits do not.
  const ticks = Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
  return { scale: 'linear', domain: [ticks[0], ticks[ticks.length - 1]], ticks };
}

/** Positions of ticks within a decade, from many to few. */
const LADDERS = [[1, 2, 5], [1, 3], [1]];

/**
 * A logarithmic axis over the positive `values`, with at most `most` ticks where the finest ladder
 * of a decade allows it.
 */
export function logAxis(values: Iterable<number | null | undefined>, most = 5): Axis {
  const [low, high] = extent(values, 0);
  if (low > high) return EMPTY;
  const candidates = LADDERS.map((mantissas) => rungs(mantissas, low, high));
  const ticks =
    candidates.find((inside) => inside.length <= most) ?? candidates[candidates.length - 1];
  return { scale: 'log', domain: [ticks[0], ticks[ticks.length - 1]], ticks };
}

/** The rungs that hold `low` and `high` between the first and the last. */
function rungs(mantissas: readonly number[], low: number, high: number): number[] {
  const ladder: number[] = [];
  for (
    let power = Math.floor(Math.log10(low)) - 1;
    power <= Math.ceil(Math.log10(high)) + 1;
    power++
  ) {
    for (const mantissa of mantissas) ladder.push(Number((mantissa * 10 ** power).toPrecision(12)));
  }
  const first = ladder.findLastIndex((rung) => rung <= low);
  const last = Math.max(
    first + 1,
    ladder.findIndex((rung) => rung >= high),
  );
  return ladder.slice(first, last + 1);
}

/** Steps from 0 to the run's last, with about `count` round ticks and the last step itself. */
export function stepAxis(lastStep: number, count: number): Axis {
  const step = Math.max(1, niceStep(lastStep / count));
  const ticks: number[] = [];
  // A round tick too near the end would run into the last one's label.
  for (let tick = 0; tick <= lastStep - step * 0.6; tick += step) ticks.push(tick);
  return {
    scale: 'linear',
    domain: [0, Math.max(1, lastStep)],
    ticks: [...ticks, Math.max(1, lastStep)],
  };
}

function extent(values: Iterable<number | null | undefined>, above: number): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || value === undefined || !Number.isFinite(value) || value <= above)
      continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const mantissa = rough / power;
  return power * (mantissa <= 1 ? 1 : mantissa <= 2 ? 2 : mantissa <= 5 ? 5 : 10);
}
