// Places the labels at the ends of lines so that none covers another. Pure.

export const LABEL_HEIGHT = 14;

/**
 * The labels that fit between `top` and `bottom`, each as near to its line's end `y` as the others
 * let it, in the order of their ends and at least LABEL_HEIGHT apart. If too many are given, the
 * last ones are left out, and those of lines whose end is not on the axes, such as 0 on a
 * logarithmic one. `from` is where the label wanted to be.
 */
export function placeLabels<L extends { x: number; y: number }>(
  labels: readonly L[],
  top: number,
  bottom: number,
): (L & { from: number })[] {
  const most = Math.floor((bottom - top) / LABEL_HEIGHT) + 1;
  const placed = labels
    .filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y))
    .slice(0, Math.max(0, most))
    .map((label) => ({ ...label, from: label.y }))
    .sort((a, b) => a.y - b.y);
  // Down from the top, each below the one before; then up from the bottom.
  for (const [index, label] of placed.entries()) {
    const above = index === 0 ? top : placed[index - 1].y + LABEL_HEIGHT;
    label.y = Math.max(label.y, above);
  }
  for (let index = placed.length - 1; index >= 0; index--) {
    const below = index === placed.length - 1 ? bottom : placed[index + 1].y - LABEL_HEIGHT;
    placed[index].y = Math.min(placed[index].y, below);
  }
  return placed;
}

/** A run's name as a label has room for it, without what follows its name. */
export function shortLabel(label: string, most = 14): string {
  const [name] = label.split(' · ');
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}
