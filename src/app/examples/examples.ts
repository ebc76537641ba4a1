// The examples gallery, one row a card. Pure. Each has a picture, public/examples/NAME.webp, which
// `SCREENSHOT=1 npm run test:e2e -- examples` makes; SCREENSHOT=NAME,… makes those alone.

import { type Config, DEFAULTS } from '../../config';
import { formatLink } from '../../link';
import { PRESETS } from '../../presets';
import { labHash } from '../shared/rooms';

export interface Example {
  /** The name of its picture. */
  name: string;
  title: string;
  sentence: string;
  /** What the card opens; it starts nothing. */
  hash: string;
}

export interface ExampleGroup {
  title: string;
  examples: readonly Example[];
}

const SORTING = PRESETS.find(({ teacher }) => teacher === 'sorting-teacher')!;
const FIVE_MINUTES = PRESETS.find(({ duration }) => duration === 'Five minutes')!;

/** The link of the default settings with these changes. */
const run = (changes: Partial<Config>) => `#${formatLink({ ...DEFAULTS, ...changes })}`;

export const EXAMPLES: readonly ExampleGroup[] = [
  {
    title: 'Runs to try',
    examples: [
      {
        name: 'first-run',
        title: 'The first run',
        sentence: PRESETS[0].about,
        hash: `#${formatLink(PRESETS[0].config)}`,
      },
      {
        name: 'five-minutes',
        title: 'Five minutes',
        sentence: FIVE_MINUTES.about,
        hash: `#${formatLink(FIVE_MINUTES.config)}`,
      },
      {
        name: 'text-alone',
        title: 'The same student, without a teacher',
        sentence: 'It learns from the text alone. Compare its perplexity at the end.',
        hash: `#${formatLink({ ...PRESETS[0].config, loss: 'ce' })}`,
      },
      {
        name: 'sorting',
        title: 'Right or wrong',
        sentence: 'A new student learns to sort letters, so its right answers can be counted.',
        hash: `#${formatLink(SORTING.config)}`,
      },
      {
        name: 'copied-layers',
        title: 'Which layers to keep',
        sentence: 'The teacher’s first two, and not the first and the last. See what that costs.',
        hash: run({ student_model: 'teacher', student_from_layers: '0,1', student_lr: 0.002 }),
      },
      {
        name: 'reverse-kl',
        title: 'Reverse KL',
        sentence: 'The student is punished for what the teacher would not say. Read its text.',
        hash: run({ loss: 'rkl', temperature: 1 }),
      },
    ],
  },
  {
    title: 'Lessons',
    examples: [
      {
        name: 'temperature',
        title: 'What T does',
        sentence: 'Two of the teacher’s distributions, and a slider that softens both.',
        hash: labHash('lessons', 'temperature:2'),
      },
      {
        name: 'capacity',
        title: 'What a student cannot learn',
        sentence: 'Students of three widths, and where the narrow one falls behind.',
        hash: labHash('lessons', 'capacity:16'),
      },
      {
        name: 'direction',
        title: 'Forward or reverse KL',
        sentence: 'What a student says that cannot tell two contexts apart.',
        hash: labHash('lessons', 'direction:0.5'),
      },
    ],
  },
  {
    title: 'Labs',
    examples: [
      {
        name: 'slice',
        title: 'The slice that view refuses',
        sentence: 'Storage and view of logits without their last position, cell by cell.',
        hash: labHash('strideLab', '2,4,6:slice(1,0,-1)'),
      },
      {
        name: 'replay',
        title: 'The bug, replayed',
        sentence:
          'One evaluation in three columns: as it was, as it was fixed, as it is read here.',
        hash: labHash('bugLab', ''),
      },
    ],
  },
  {
    title: 'For a class',
    examples: [
      {
        name: 'ask-soft',
        title: 'How much is a soft label worth?',
        sentence: 'A question to put to the room before anybody presses an answer.',
        hash: labHash('lessons', 'soft'),
      },
      {
        name: 'causes',
        title: 'Four causes, one log',
        sentence: 'Which cause explains which log? Then a log that tells them apart.',
        hash: labHash('bugLab', 'causes'),
      },
      {
        name: 'heads',
        title: 'The bug that raises nothing',
        sentence: 'Attention heads split by the wrong reshape. What would you look at first?',
        hash: labHash('bugLab', 'heads'),
      },
    ],
  },
];
