// A line as SVG path data. Pure.

/** A point of a line; a value that is null leaves a gap. */
export type LinePoint = readonly [x: number, value: number | null];

/** `x` and `y` give pixels. A point that has none, such as 0 on a log axis, leaves a gap. */
export function linePath(
  points: readonly LinePoint[],
  x: (value: number) => number,
  y: (value: number) => number,
): string {
  let path = '';
  let drawing = false;
  for (const [at, value] of points) {
    const left = x(at);
    const top = value === null ? Number.NaN : y(value);
    if (!Number.isFinite(left) || !Number.isFinite(top)) {
      drawing = false;
      continue;
    }
    path += `${drawing ? 'L' : 'M'}${left.toFixed(1)},${top.toFixed(1)}`;
    drawing = true;
  }
  return path;
}
