// The tokens that attention weights really belong to when the heads were made by reshape. Pure.
//
// q (B, T, C).reshape(B, H, T, D) keeps the elements in their order, so head h holds tokens h·T/H
// to (h + 1)·T/H − 1, each cut into H slices of D elements. Row r of head h is slice r mod H of
// token h·T/H + ⌊r / H⌋, but the code assumes that it is token r.

/** The token and slice that row `row` of a head really holds. */
export function rowContent(
  head: number,
  row: number,
  T: number,
  H: number,
): { token: number; slice: number } {
  const element = head * T + row;
  return { token: Math.floor(element / H), slice: element % H };
}

/**
 * A head's (T, T) weights by actual tokens: a query token's row is the mean of its slices' rows, a
 * key token's column the sum over its slices. Rows of tokens that the head never sees are 0.
 */
export function weightsByToken(
  weights: readonly number[],
  head: number,
  T: number,
  H: number,
): number[] {
  const moved = new Array<number>(T * T).fill(0);
  const rows = new Array<number>(T).fill(0);
  for (let row = 0; row < T; row++) {
    const query = rowContent(head, row, T, H).token;
    rows[query]++;
    for (let column = 0; column < T; column++) {
      moved[query * T + rowContent(head, column, T, H).token] += weights[row * T + column];
    }
  }
  return moved.map((weight, at) => weight / Math.max(1, rows[Math.floor(at / T)]));
}

/** The keys with the largest weights of one query, largest first. Weights of 0 are left out. */
export function strongestKeys(
  weights: readonly number[],
  query: number,
  T: number,
  count: number,
): number[] {
  const row = weights.slice(query * T, (query + 1) * T);
  return [...row.keys()]
    .filter((key) => row[key] > 0)
    .sort((a, b) => row[b] - row[a])
    .slice(0, count);
}

/** How many tokens back the queries attend, averaged over all weights. */
export function meanLookBack(weights: readonly number[], T: number): number {
  let sum = 0;
  let total = 0;
  for (const [at, weight] of weights.entries()) {
    sum += weight * (Math.floor(at / T) - (at % T));
    total += weight;
  }
  return total > 0 ? sum / total : 0;
}

/** A token in quotation marks, with visible line ends. */
export function quoteToken(token: string): string {
  return `“${token.replaceAll('\n', '⏎')}”`;
}
