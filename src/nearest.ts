// Suggestions for a mistyped name: "Did you mean alpha?"

/** Longer texts are noise, and the comparison is quadratic. */
const LONGEST = 60;
const MOST = 3;

/** Up to three of `names` that `text` may have meant, the nearest first: few edits, or a part. */
export function nearest(text: string, names: readonly string[]): string[] {
  if (text.length > LONGEST) return [];
  const plain = text.toLowerCase().replaceAll('-', '_');
  return names
    .map((name) => ({ name, edits: editDistance(plain, name) }))
    .filter(
      ({ name, edits }) =>
        edits <= Math.max(2, name.length / 3) || (plain.length > 3 && name.includes(plain)),
    )
    .sort((a, b) => a.edits - b.edits)
    .slice(0, MOST)
    .map(({ name }) => name);
}

/** "Did you mean a, b or c?" */
export function didYouMean(names: readonly string[]): string {
  const last = names.at(-1);
  return `Did you mean ${names.length > 1 ? `${names.slice(0, -1).join(', ')} or ${last}` : last}?`;
}

/** Levenshtein distance: the fewest characters to insert, delete or replace. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, replaced));
    }
    row = next;
  }
  return row[b.length];
}
