// The lessons' state in the address: `#lesson=temperature` asks, `#lesson=temperature:4` shows the
// answer with the slider at 4. The text is untrusted. Pure.

import { excerpt } from '../../quote';
import type { Lesson } from './scene';

export interface LessonState {
  lesson: Lesson;
  /** The slider's value; undefined until the question has been answered. */
  value?: number;
}

export const formatState = ({ lesson, value }: LessonState): string =>
  value === undefined ? lesson.id : `${lesson.id}:${value}`;

/** An empty text is the first lesson. */
export function parseState(
  text: string,
  lessons: readonly Lesson[],
): LessonState | { problem: string } {
  if (text === '') return { lesson: lessons[0] };
  const [id, number, ...rest] = text.split(':');
  const lesson = lessons.find((one) => one.id === id);
  if (!lesson)
    return {
      problem:
        `There is no lesson ${quote(id)}. ` +
        `Choose one of: ${lessons.map((one) => one.id).join(', ')}.`,
    };
  if (number === undefined) return { lesson };
  const { values, symbol } = lesson.control;
  const value = rest.length === 0 && number !== '' ? Number(number) : Number.NaN;
  if (!values.includes(value)) {
    const given = quote(text.slice(id.length + 1));
    return { problem: `${symbol} is ${given}. It must be one of: ${values.join(', ')}.` };
  }
  return { lesson, value };
}

const quote = (text: string) => `“${excerpt(text)}”`;
