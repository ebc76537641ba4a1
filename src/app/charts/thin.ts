// Downsampling that keeps extremes: a chart of many points draws few, and no peak is lost.

/**
 * At most `limit` of the indices 0 to count − 1, in order. Neighbours form buckets; of each bucket
 * remain the lowest and the highest point of every measure, by `heights[measure](index)`. NaN is no
 * height: it is neither. The last index always remains, or a line would end before its run does.
 * Bucket borders do not move as points arrive.
 */
export function thinIndices(
  count: number,
  limit: number,
  heights: readonly ((index: number) => number)[],
): number[] {
  if (count <= limit) return Array.from({ length: count }, (_, index) => index);
  const most = 2 * heights.length;
  let bucket = 2;
  // One place is for the last index.
  while (Math.ceil(count / bucket) * Math.min(bucket, most) >= limit) bucket *= 2;
  const chosen = new Set([count - 1]);
  for (let from = 0; from < count; from += bucket) {
    const to = Math.min(from + bucket, count);
    for (const height of heights) {
      chosen.add(extreme(from, to, height));
      chosen.add(extreme(from, to, (index) => -height(index)));
    }
  }
  return [...chosen].sort((a, b) => a - b);
}

/** The index of the highest of those from `from` up to `to`; the first of several. */
function extreme(from: number, to: number, height: (index: number) => number): number {
  let best = from;
  for (let index = from + 1; index < to; index++) {
    const [value, highest] = [height(index), height(best)];
    if (value > highest || (Number.isNaN(highest) && !Number.isNaN(value))) best = index;
  }
  return best;
}
