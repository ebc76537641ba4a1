// Text from files, links and servers as messages quote it: on one line, with nothing invisible, and
// short whatever was sent. Pure.

/**
 * Characters that would break a message's line, hide in it or turn its direction: control
 * characters, spaces without width, marks of direction, and halves of a character pair.
 */
const UNSEEN = /[\p{Cc}\p{Cs}\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;
const SHORT: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** The text with its invisible characters as escapes, such as \n and \u202e. */
export const visible = (text: string): string =>
  text.replace(
    UNSEEN,
    (character) =>
      SHORT[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** `visible`, and at most this many characters of it. */
export const excerpt = (text: string, most = 40): string =>
  text.length > most ? `${visible(text.slice(0, most))}…` : visible(text);

/** A value that was read as JSON, as JSON; of a long or deep one, its beginning. */
export function shownJson(value: unknown, most = 60): string {
  return value === undefined ? 'missing' : excerpt(brief(value, most + 1, 0), most);
}

/** Sizes, such as a shape: [2, 3]. */
export const shownSizes = (sizes: readonly number[]): string =>
  `[${excerpt(sizes.slice(0, 40).join(', '))}]`;

/** Deeper values are not shown, and need no deep call stack. */
const DEEPEST = 8;

function brief(value: unknown, most: number, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, most));
  if (typeof value !== 'object' || value === null) return String(value);
  const isList = Array.isArray(value);
  let text = isList ? '[' : '{';
  for (const key in value) {
    if (text.length > 1) text += ',';
    if (text.length > most || depth === DEEPEST) return `${text}…`;
    if (!isList) text += `${JSON.stringify(key.slice(0, most))}:`;
    text += brief((value as Record<string, unknown>)[key], most - text.length, depth + 1);
  }
  return text + (isList ? ']' : '}');
}
