// A text whose lines each hold a question and its one right answer: where the answers are, and how
// many a model gives in full.

import type { Tokenizer } from './tokenizer';

/** The two tokens that mark an answer. */
export interface AnswerMarks {
  /** Ends the question. */
  after: number;
  /** Ends the line, and belongs to the answer: it says that nothing follows. */
  end: number;
}

/**
 * The answers in a window of tokens, as [first, last] positions. A line counts only if the window
 * has all of it, from the end of the line before.
 */
export function answersIn(
  tokens: ArrayLike<number>,
  { after, end }: AnswerMarks,
): [first: number, last: number][] {
  const answers: [number, number][] = [];
  let first: number | undefined;
  let whole = false;
  for (let at = 0; at < tokens.length; at++) {
    if (tokens[at] === end) {
      if (whole && first !== undefined) answers.push([first, at]);
      whole = true;
      first = undefined;
    } else if (tokens[at] === after) first ??= at + 1;
  }
  return answers;
}

/** The tokens that mark a corpus's answers, if each mark is one token of this tokenizer. */
export function answerMarks(
  answersAfter: string | undefined,
  { encode }: Pick<Tokenizer, 'encode'>,
): AnswerMarks | undefined {
  if (answersAfter === undefined) return undefined;
  const [after, end] = [answersAfter, '\n'].map((mark) => encode(mark));
  return after.length === 1 && end.length === 1 ? { after: after[0], end: end[0] } : undefined;
}
