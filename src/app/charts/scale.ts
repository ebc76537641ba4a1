// Axis domains with a few round ticks. A domain is rounded outwards to ticks, so that the axis
// stays still while a line moves inside it.

export interface Axis {
  scale: 'linear' | 'log';
  domain: [number, number];
  ticks: number[];
}

/** With nothing to draw there are no ticks: they would suggest measurements. */
const EMPTY: Axis = { scale: 'linear', domain: [0, 1], ticks: [] };

/**
 * A linear axis over `values` with about `count` steps, from 0 if `fromZero`. Values that are not
 * finite are ignored.
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
  // Twelve digits turn 0.30000000000000004 into 0.3.
  const ticks = Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
  return { scale: 'linear', domain: [ticks[0], ticks[ticks.length - 1]], ticks };
}

/** Mantissas of the ticks in a decade, from many ticks to few. */
const MANTISSAS = [[1, 2, 5], [1, 3], [1]];

/**
 * A logarithmic axis over the positive `values`: the finest ticks of which at most `most` fit, or
 * one tick per decade.
 */
export function logAxis(values: Iterable<number | null | undefined>, most = 5): Axis {
  const [low, high] = extent(values, 0);
  if (low > high) return EMPTY;
  const candidates = MANTISSAS.map((mantissas) => logTicks(mantissas, low, high));
  const ticks =
    candidates.find((candidate) => candidate.length <= most) ?? candidates[candidates.length - 1];
  return { scale: 'log', domain: [ticks[0], ticks[ticks.length - 1]], ticks };
}

/**
 * A logarithmic axis that begins and ends exactly at `low` and `high`, both above 0, with at most
 * `most` round ticks in between and one at the end.
 */
export function logWithin(low: number, high: number, most: number): Axis {
  if (!(low < high)) return { scale: 'log', domain: [high / 2, high], ticks: [high] };
  const inside = MANTISSAS.map((mantissas) =>
    logTicks(mantissas, low, high).filter((tick) => tick >= low && tick < high / 1.25),
  );
  const ticks = inside.find((candidate) => candidate.length <= most) ?? inside[inside.length - 1];
  return { scale: 'log', domain: [low, high], ticks: [...ticks, high] };
}

/** The ticks from the last one at or below `low` to the first one at or above `high`. */
function logTicks(mantissas: readonly number[], low: number, high: number): number[] {
  const all: number[] = [];
  for (
    let power = Math.floor(Math.log10(low)) - 1;
    power <= Math.ceil(Math.log10(high)) + 1;
    power++
  ) {
    for (const mantissa of mantissas) all.push(Number((mantissa * 10 ** power).toPrecision(12)));
  }
  const first = all.findLastIndex((tick) => tick <= low);
  const last = Math.max(
    first + 1,
    all.findIndex((tick) => tick >= high),
  );
  return all.slice(first, last + 1);
}

/** Steps from 0 to the run's last, with about `count` round ticks and the last step itself. */
export function stepAxis(lastStep: number, count: number): Axis {
  const step = Math.max(1, niceStep(lastStep / count));
  const ticks: number[] = [];
  // A round tick too close to the end would overlap the label of the last step.
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
