// The tour's steps: what it points at, and what it says there. Pure.

interface TourStep {
  /** A CSS selector for an element that is on the page in every phase of a run. */
  target: string;
  title: string;
  text: string;
}

export const TOUR: readonly TourStep[] = [
  {
    target: '.recipe',
    title: 'The recipe',
    text:
      'Who teaches, who learns, and how: the number of steps, and how much the teacher counts. ' +
      'The settings work as they are.',
  },
  {
    target: '.run-controls',
    title: 'Distil',
    text:
      'This button starts a run on your own GPU. Nothing leaves the browser, and you can pause ' +
      'at any step.',
  },
  {
    target: '.curves',
    title: 'The curves',
    text:
      'How the student learns. Watch its perplexity fall towards the dashed line, which is the ' +
      'teacher’s. Until you start a run, a recording is shown.',
  },
  {
    target: '.samples',
    title: 'What they say',
    text:
      'The same prompt, continued by the teacher, by the student now, and by the student before ' +
      'it had learned anything. This is what the training is for.',
  },
  {
    target: '.rooms',
    title: 'The other rooms',
    text:
      'Lessons explain distillation, the labs how tensors lie in memory and a real bug. Examples ' +
      'opens all of them, and runs to try. Words that are underlined with dots have a definition.',
  },
];
