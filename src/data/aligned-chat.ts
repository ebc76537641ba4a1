// A conversation in the chat templates of two models. They write different text around what is
// said, so the tokens of both are aligned inside the messages' contents alone.

import type { Groups } from './aligned';
import { ASSISTANT, type ChatMessage, type RenderedChat } from './chat';

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;
/** Templates trim a message, or do not. */
const wordsOf = ({ content }: ChatMessage): string => content.trim();

/** Where each message's content begins if all are laid one after the other, a byte between them. */
function contentStarts(messages: readonly ChatMessage[]): number[] {
  let at = 0;
  return messages.map((message) => {
    const start = at;
    at += bytesOf(wordsOf(message)) + 1;
    return start;
  });
}

/**
 * Where each message's content begins in a rendered conversation, in characters; undefined for one
 * that the template leaves out or changes. What the assistant says is found where it is said.
 */
function contentsIn({ text, said }: RenderedChat, messages: readonly ChatMessage[]) {
  let at = 0;
  const find = (words: string, from: number, to: number): number | undefined => {
    const found = text.indexOf(words, Math.max(at, from));
    return words !== '' && found >= 0 && found + words.length <= to ? found : undefined;
  };
  return messages.map((message) => {
    const words = wordsOf(message);
    const next = said.find(([from]) => from >= at)?.[0] ?? text.length;
    const spans = message.role === ASSISTANT ? said : [[0, next]];
    const start = spans.map(([from, to]) => find(words, from, to)).find((one) => one !== undefined);
    if (start !== undefined) at = start + words.length;
    return start;
  });
}

/**
 * (n + 1) where each token of a rendered conversation begins, and where the last one ends: a byte
 * of `contentStarts`, or NaN in what the template writes. A token that begins with the white space
 * before a content begins with it.
 * @param starts (n + 1) the same as bytes of the rendered text
 */
export function placesInContents(
  rendered: RenderedChat,
  messages: readonly ChatMessage[],
  starts: ArrayLike<number>,
): Float64Array {
  const { text } = rendered;
  const places = new Float64Array(starts.length).fill(Number.NaN);
  const to = contentStarts(messages);
  let [token, before, at] = [0, 0, 0];
  for (const [index, from] of contentsIn(rendered, messages).entries()) {
    if (from === undefined) continue;
    const words = wordsOf(messages[index]);
    const white = text.slice(at, from);
    before += bytesOf(text.slice(at, from));
    at = from;
    const first = before - bytesOf(white.slice(white.trimEnd().length));
    const last = before + bytesOf(words);
    while (starts[token] < first) token++;
    for (; starts[token] <= last; token++)
      places[token] = to[index] + Math.max(0, starts[token] - before);
  }
  return places;
}

/**
 * Groups of two renderings of one conversation. What the assistant says is compared; the other
 * messages only keep both texts in step.
 * @param student (n + 1) `placesInContents` of the student's tokens
 * @param teacher (m + 1) the same of the teacher's
 */
export function alignContents(
  messages: readonly ChatMessage[],
  student: Float64Array,
  teacher: Float64Array,
): Groups {
  const starts = contentStarts(messages);
  const ends: [student: number, teacher: number, compared: number][] = [];
  let [from, fromT, message] = [0, 0, -1];
  const end = (i: number, j: number, place: number) => {
    const inside = starts.findLastIndex((start) => start <= place);
    const same = inside === message && messages[inside]?.role === ASSISTANT;
    if (i > from || j > fromT) ends.push([i, j, Number(same && i > from && j > fromT)]);
    [from, fromT, message] = [i, j, inside];
  };
  let [i, j] = [0, 0];
  while (i < student.length && j < teacher.length) {
    const [s, t] = [student[i], teacher[j]];
    // A token without bytes belongs to the group before it.
    if (Number.isNaN(s) || s < t || s === student[i + 1]) i++;
    else if (Number.isNaN(t) || t < s || t === teacher[j + 1]) j++;
    else end(i++, j++, s);
  }
  end(student.length - 1, teacher.length - 1, Number.NaN);
  const of = (side: 0 | 1) => Uint32Array.from(ends, (one) => one[side]);
  return { student: of(0), teacher: of(1), compared: Uint8Array.from(ends, (one) => one[2]) };
}
