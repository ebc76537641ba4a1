// The Stride Lab's lessons, one row each: a chain, a question about its last operation to answer
// before its verdict is shown, and one sentence afterwards. tests/fixtures/goldens/make_lessons.py
// has PyTorch carry out each chain.

import type { Outcome } from './chain';

export interface Lesson {
  title: string;
  /** The chain, as it stands in a link. */
  chain: string;
  /** One sentence: what this is. */
  setting: string;
  question: string;
  options: readonly string[];
  /** Which of the options is true. */
  right: number;
  /** One sentence, told after the verdict. */
  answer: string;
  /** Another chain to hold beside this one. */
  beside?: { chain: string; label: string };
}

/** What the last operation can come to; most lessons ask for this. */
export const OUTCOMES: Record<Outcome, string> = {
  contiguous: 'Free, and contiguous',
  strided: 'Free, but not contiguous',
  copies: 'It copies',
  refused: 'PyTorch refuses',
};

const outcomes = Object.keys(OUTCOMES) as Outcome[];
const comesTo = (outcome: Outcome) => ({
  options: Object.values(OUTCOMES),
  right: outcomes.indexOf(outcome),
});

export const LESSONS: readonly Lesson[] = [
  {
    title: 'The slice of the story',
    chain: '2,4,6:slice(1,0,-1):view(-1,6)',
    setting:
      'Logits of 2 sequences, 4 positions, 6 tokens; a loss drops the last position and wants rows.',
    question: 'What does view(-1, 6) come to?',
    ...comesTo('refused'),
    answer:
      'Inside a sequence the rows lie 6 cells apart, but from one sequence to the next the dropped row is skipped.',
  },
  {
    title: 'The usual fix, and its price',
    chain: '2,4,6:slice(1,0,-1):reshape(-1,6)',
    setting: 'The same slice, with reshape in the place of view.',
    question: 'What does reshape(-1, 6) come to?',
    ...comesTo('copies'),
    answer:
      'Where view refuses, reshape copies: for a (4, 127, 50257) slice in f16 that is 51 MB, each step.',
  },
  {
    title: 'Nothing to fix',
    chain: '2,4,6:slice(1,0,-1)',
    setting: 'The slice alone, before anything is done to it.',
    question: 'What does the slice itself come to?',
    ...comesTo('strided'),
    answer:
      'Only the size changed, so a kernel that takes offset and strides reads it where it lies: no view, no copy needed.',
  },
  {
    title: 'The same at batch size 1',
    chain: '1,4,6:slice(1,0,-1):view(-1,6)',
    setting: 'The slice and the view of the story, with one sequence.',
    question: 'What does view(-1, 6) come to now?',
    ...comesTo('contiguous'),
    answer: 'With one sequence there is no next one to jump to, so the bug hides at batch size 1.',
  },
  {
    title: 'T = 2, the quiet trap',
    chain: '2,2,6:slice(1,0,-1):view(-1,6)',
    setting: 'The slice and the view of the story, with 2 sequences of 2 positions.',
    question: 'What does view(-1, 6) come to at T = 2?',
    ...comesTo('strided'),
    answer:
      'One row a sequence is left, 12 cells apart: a kernel that takes 6 for the row stride reads the wrong rows, and raises nothing.',
  },
  {
    title: 'Transpose, then view',
    chain: '3,4:transpose(0,1):view(12)',
    setting: 'A 3 × 4 matrix, transposed and then laid out in one line.',
    question: 'What does view(12) come to?',
    ...comesTo('refused'),
    answer:
      'The transpose moved no number, so its row order jumps back and forth in the storage, and one stride cannot.',
  },
  {
    title: 'Reshape where a transpose was meant',
    chain: '1,4,6:reshape(1,2,4,3)',
    setting:
      'Attention: 4 positions of 6 features are to become 2 heads of 4 positions and 3 features.',
    question: 'Does head 0 get its 3 features of every position?',
    options: ['Yes', 'No, it gets other numbers', 'PyTorch refuses'],
    right: 1,
    answer:
      'Legal, free and wrong: head 0 has all 6 features of positions 0 and 1, and nothing of positions 2 and 3.',
    beside: {
      chain: '1,4,6:view(1,4,2,3):transpose(1,2)',
      label: 'The heads as they should be: view, then transpose',
    },
  },
  {
    title: 'Expand, then view',
    chain: '1,3:expand(4,3):view(12)',
    setting: 'A row of 3 numbers, shown 4 times by expand, then laid out in one line.',
    question: 'What does view(12) come to?',
    ...comesTo('refused'),
    answer:
      'The 4 rows are the same 3 cells, read with stride 0: a line of 12 would have to jump back to the start.',
  },
  {
    title: 'A padded vocabulary',
    chain: '2,3,8:slice(2,0,6):view(-1,6)',
    setting: 'Logits with 6 tokens in rows padded to 8; the slice drops the padding.',
    question: 'What does view(-1, 6) come to?',
    ...comesTo('strided'),
    answer:
      'All rows lie 8 cells apart, so they join without a copy; a kernel that takes 6 for the row stride reads padding.',
  },
];
