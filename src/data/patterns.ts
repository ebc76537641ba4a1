// The regular expressions of a tokenizer.json. They run on every text, and cannot be stopped: one
// that tries all ways to share a text among its parts takes longer than anybody waits. No
// tokenizer in use that we know has such a pattern.

/**
 * A pattern that could take exponential time: it repeats, without a limit, a group that itself has
 * a repetition without a limit, or a choice. Undefined if there is none.
 * @param json a parsed tokenizer.json
 */
export function slowPattern(json: unknown): string | undefined {
  const waiting: unknown[] = [json];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, inner] of Object.entries(value)) {
      if (key === 'Regex' && typeof inner === 'string' && isSlow(inner)) return inner;
      // The vocabulary and the merges, which are long, have no patterns.
      if (key !== 'vocab' && key !== 'merges') waiting.push(inner);
    }
  }
  return undefined;
}

/** Parts of a pattern: an escape, a class of characters, a group's ends, repetitions, a choice. */
const PARTS = /\\[pPuxk]?\{[^}]*\}|\\.|\[(?:\\.|[^\]\\])*\]|\(\?[^)]?|[()|*+?]|\{\d*,?\d*\}/gs;

function isSlow(pattern: string): boolean {
  // Of each open group: whether something in it can be shared out in several ways.
  const open: boolean[] = [false];
  let closed = false;
  for (const [part] of pattern.matchAll(PARTS)) {
    const repeats = part === '*' || part === '+' || /^\{\d*,\}$/.test(part);
    if (part.startsWith('(')) open.push(false);
    else if (repeats) {
      if (closed) return true;
      open[open.length - 1] = true;
    } else if (part === '|') open[open.length - 1] = true;
    if (part === ')') {
      closed = (open.length > 1 ? open.pop() : false) === true;
      if (closed) open[open.length - 1] = true;
    } else closed = false;
  }
  return false;
}
