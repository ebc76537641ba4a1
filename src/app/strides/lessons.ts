// The Stride Lab's lessons, one row each: a chain of operations, a question about the last one, and
// the text shown with the verdict. tests/fixtures/goldens/make_lessons.py runs each chain in
// PyTorch.

import type { Quiz } from '../shared/LessonParts';
import type { Outcome } from './chain';

export interface Lesson extends Quiz {
  /** The chain, as the link spells it. */
  chain: string;
  /** What to learn from it, shown with the verdict. */
  answer: string;
  /** Another chain to compare with this one. */
  beside?: { chain: string; label: string };
}

/** The options of a question about the last operation's outcome. */
export const OUTCOMES: Record<Outcome, string> = {
  contiguous: 'Free, and contiguous',
  strided: 'Free, but not contiguous',
  copies: 'It copies',
  refused: 'PyTorch refuses',
};

const outcomes = Object.keys(OUTCOMES) as Outcome[];
const outcomeOptions = (outcome: Outcome) => ({
  options: Object.values(OUTCOMES),
  right: outcomes.indexOf(outcome),
});

export const LESSONS: readonly Lesson[] = [
  {
    title: 'The slice from the story',
    chain: '2,4,6:slice(1,0,-1):view(-1,6)',
    setting:
      'Logits for 2 sequences of 4 positions, with a vocabulary of 6. ' +
      'The loss drops the last position and needs a list of rows.',
    question: 'What happens when you call view(-1, 6)?',
    ...outcomeOptions('refused'),
    answer:
      'Within a sequence the rows are 6 cells apart. ' +
      'From one sequence to the next the dropped row must be skipped.',
  },
  {
    title: 'The usual fix, and its price',
    chain: '2,4,6:slice(1,0,-1):reshape(-1,6)',
    setting: 'The same slice, with reshape instead of view.',
    question: 'What happens when you call reshape(-1, 6)?',
    ...outcomeOptions('copies'),
    answer:
      'Where view refuses, reshape copies. ' +
      'For a (4, 127, 50257) slice in f16 that is 51 MB in every step.',
  },
  {
    title: 'Nothing to fix',
    chain: '2,4,6:slice(1,0,-1)',
    setting: 'The slice alone, before view or reshape.',
    question: 'What happens when you take the slice?',
    ...outcomeOptions('strided'),
    answer:
      'Only the size changed. A kernel that takes an offset and strides can read the slice in ' +
      'place: it needs neither view nor copy.',
  },
  {
    title: 'The same at batch size 1',
    chain: '1,4,6:slice(1,0,-1):view(-1,6)',
    setting: 'The same slice and view, with one sequence.',
    question: 'What happens when you call view(-1, 6) now?',
    ...outcomeOptions('contiguous'),
    answer: 'With one sequence there is no jump to the next, so batch size 1 hides the bug.',
  },
  {
    title: 'T = 2, the quiet trap',
    chain: '2,2,6:slice(1,0,-1):view(-1,6)',
    setting: 'The same slice and view, with 2 sequences of 2 positions.',
    question: 'What happens when you call view(-1, 6) at T = 2?',
    ...outcomeOptions('strided'),
    answer:
      'Each sequence keeps one row, and the rows are 12 cells apart. ' +
      'A kernel that assumes a row stride of 6 reads the wrong rows, and raises nothing.',
  },
  {
    title: 'Transpose, then view',
    chain: '3,4:transpose(0,1):view(12)',
    setting: 'A 3 × 4 matrix, transposed and then flattened.',
    question: 'What happens when you call view(12)?',
    ...outcomeOptions('refused'),
    answer:
      'The transpose moved no data. Reading the result in row order jumps back and forth in ' +
      'the storage, and a single stride cannot do that.',
  },
  {
    title: 'Reshape where a transpose was meant',
    chain: '1,4,6:reshape(1,2,4,3)',
    setting:
      'Attention splits 4 positions of 6 features into 2 heads, ' +
      'each with 4 positions of 3 features.',
    question: 'Does head 0 get its 3 features of every position?',
    options: ['Yes', 'No, it gets the wrong numbers', 'PyTorch refuses'],
    right: 1,
    answer:
      'Legal, free and wrong: head 0 gets all 6 features of positions 0 and 1, ' +
      'and nothing of positions 2 and 3.',
    beside: {
      chain: '1,4,6:view(1,4,2,3):transpose(1,2)',
      label: 'The correct heads: view, then transpose',
    },
  },
  {
    title: 'Expand, then view',
    chain: '1,3:expand(4,3):view(12)',
    setting: 'A row of 3 numbers, repeated 4 times by expand, then flattened.',
    question: 'What happens when you call view(12)?',
    ...outcomeOptions('refused'),
    answer:
      'The 4 rows are the same 3 cells, read with stride 0. ' +
      'A flat view of 12 would have to jump back to the start after each row.',
  },
  {
    title: 'A padded vocabulary',
    chain: '2,3,8:slice(2,0,6):view(-1,6)',
    setting: 'Logits for 6 tokens in rows padded to 8. The slice drops the padding.',
    question: 'What happens when you call view(-1, 6)?',
    ...outcomeOptions('strided'),
    answer:
      'All rows are 8 cells apart, so they join without a copy. ' +
      'A kernel that assumes a row stride of 6 reads padding.',
  },
];
