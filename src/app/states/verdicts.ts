// What the Doctor says in the designed states.

import type { Verdict } from '../../doctor/examine';
import { RULES } from '../../doctor/rules';

/** Where the scenes in mid-run stand; the last evaluation is at the same step. */
export const MIDWAY = 140;

export const SLOW: Verdict = {
  rule: 'learning-rate-low',
  title: RULES['learning-rate-low'].title,
  severity: RULES['learning-rate-low'].severity,
  caveat: RULES['learning-rate-low'].caveat,
  text:
    'In 140 steps perplexity went from 2,040 to 1,980, 0.9% of the way to the teacher’s 68.9: a ' +
    'step moves the weights by only 4.2e-5 of their size.',
  advice: 'Raise the learning rate from 5.0e-6 to 1.2e-4.',
  change: { student_lr: 1.2e-4 },
  region: { chart: 'perplexity', from: 0, to: MIDWAY },
};
export const UNUSUAL: Verdict = {
  rule: 'unusual-temperature',
  title: RULES['unusual-temperature'].title,
  severity: RULES['unusual-temperature'].severity,
  caveat: RULES['unusual-temperature'].caveat,
  text: 'A temperature of 16 flattens the teacher’s predictions; 1 to 4 is usual.',
  advice: 'Use a temperature of 2.',
  change: { temperature: 2 },
};
export const COLLAPSED: Verdict = {
  rule: 'experts-collapse',
  title: RULES['experts-collapse'].title,
  severity: RULES['experts-collapse'].severity,
  caveat: RULES['experts-collapse'].caveat,
  text:
    'In layer 1, expert 1 takes 99% of the choices; an even share is 25% (step ' + `${MIDWAY}).`,
  advice: 'Balance the experts: set the weight of the balance loss to 0.01.',
  change: { router_balance: 0.01 },
  region: { chart: 'experts', from: MIDWAY - 40, to: MIDWAY, layer: 1 },
};
