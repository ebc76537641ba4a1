// Rules about the teacher: its weight in the loss, its temperature, and whether it fits the text.

import { alignedLossOf } from '../../divergences';
import { atStart, type Evidence, measured, median } from '../evidence';
import type { Rule } from '../rule';
import { figure, percent } from '../words';
import { newStudent } from './settings';

const RECENT = 20;
const LITTLE = 0.05;

/** The teacher's share of a mixed loss: alpha · T² · KD over the total. */
function teacherShare({ config, steps }: Evidence): number | undefined {
  const { loss, alpha, temperature } = config;
  if (loss !== 'mixed') return undefined;
  const shares = steps
    .slice(-RECENT)
    .filter(({ loss }) => Number.isFinite(loss))
    .map(({ ce, kd }) => {
      const soft = alpha * temperature ** 2 * kd;
      return soft / (soft + (1 - alpha) * ce);
    });
  return shares.length < RECENT ? undefined : median(shares);
}

export const teacherIgnored: Rule = {
  title: 'The teacher hardly counts',
  watches: 'alpha·T²·KD beside (1 − alpha)·CE over the last 20 steps, in a mixed loss.',
  threshold:
    'Under 5% of the loss, while the student is still 0.5 nats from the teacher: its gradient is ' +
    'then lost beside that of the data.',
  severity: 'warning',
  caveat: 'Cross-entropy alone may be what you want; then use loss=ce, which needs no teacher.',
  explainedBy: ['starts-as-teacher', 'skipped-steps'],
  look(evidence) {
    const share = teacherShare(evidence);
    const last = measured(evidence).at(-1);
    if (share === undefined || share >= LITTLE || !last || (last.kl ?? 0) < 0.5) return undefined;
    const { alpha, temperature } = evidence.config;
    const steps = evidence.steps.slice(-RECENT);
    return {
      text:
        `The teacher makes up ${percent(share)} of the loss (alpha ${figure(alpha)}, T ` +
        `${figure(temperature)}), and the student is ${figure(last.kl ?? 0)} nats from it.`,
      advice: 'Give the teacher more weight: alpha 0.7 at temperature 2.',
      change: { alpha: 0.7, temperature: 2 },
      region: { chart: 'loss', from: steps[0].step, to: steps[RECENT - 1].step },
    };
  },
};

/** Entropy of the softened teacher beside ln V. */
const FLAT = 0.98;

export const temperatureFlat: Rule = {
  title: 'The temperature flattens the teacher',
  watches: 'Entropy of the teacher’s distribution at the training temperature, beside ln V.',
  threshold:
    'Over 98% of ln V: the likeliest token then has little more than 1/V, and what is left of ' +
    'the teacher is in the last digits.',
  severity: 'warning',
  caveat: 'At a very high temperature, distillation matches logits, which can work in float32.',
  explainedBy: ['teacher-unfit'],
  look({ config, facts, evaluations }) {
    const last = evaluations.findLast(({ softEntropy }) => softEntropy !== undefined);
    if (!last || config.loss === 'ce') return undefined;
    const most = Math.log(facts.vocabularySize);
    const share = (last.softEntropy ?? 0) / most;
    if (share <= FLAT) return undefined;
    return {
      text:
        `At temperature ${figure(config.temperature)} the teacher’s entropy is ` +
        `${figure(last.softEntropy ?? 0)} of at most ${figure(most)} nats (${percent(share)}): ` +
        'it prefers hardly any token.',
      advice: 'Lower the temperature to 2.',
      change: { temperature: 2 },
      region: { chart: 'loss', from: 0, to: last.step },
    };
  },
};

const SAME = 0.01;

export const startsAsTeacher: Rule = {
  title: 'The student starts as its teacher',
  watches: 'KL(teacher ‖ student) before the first step.',
  threshold: 'Under 0.01 nats: what float16 alone makes of two equal models is 0.001.',
  severity: 'note',
  caveat: 'The student may still learn the text from the cross-entropy.',
  look(evidence) {
    const start = atStart(evidence);
    if (!start || start.kl === undefined || start.kl >= SAME) return undefined;
    return {
      text:
        `KL(teacher ‖ student) is ${figure(start.kl)} nats before the first step: there is ` +
        'nothing to learn from this teacher.',
      advice: 'Copy fewer of the teacher’s layers, or start from a new student.',
      change: evidence.config.student_model === 'teacher' ? newStudent(evidence) : undefined,
      region: { chart: 'perplexity', from: 0, to: 0 },
    };
  },
};

export const teacherUnfit: Rule = {
  title: 'The teacher does not know this text',
  watches: 'The teacher’s held-out perplexity beside that of counting single tokens.',
  threshold:
    'Worse than the unigram model, which knows nothing but how often each token occurs in the ' +
    'training text.',
  severity: 'problem',
  caveat: 'Which of them it is: weights that did not load, another tokenizer, another language.',
  explainedBy: ['tokenizer-unfit', 'one-token-dominates'],
  look({ config, facts, evaluations }) {
    // Without a loss that reads it, the teacher is only a line in the chart.
    if (config.loss === 'ce') return undefined;
    const last = evaluations.findLast(({ teacherPerplexity }) => teacherPerplexity !== undefined);
    const unigram = facts.data?.unigramPerplexity;
    const perplexity = last?.teacherPerplexity;
    if (!last || unigram === undefined || perplexity === undefined || perplexity <= unigram)
      return undefined;
    return {
      text:
        `The teacher’s perplexity on the held-out text is ${figure(perplexity)}; counting single ` +
        `tokens gives ${figure(unigram)}.`,
      advice:
        'Check the teacher’s files and tokenizer, and that it knows this language. Until then ' +
        'learn from the text alone.',
      change: { loss: 'ce' },
      region: { chart: 'perplexity', from: 0, to: last.step },
    };
  },
};

export const startUnfit: Rule = {
  title: 'The student’s weights do not know this text',
  watches: 'A trained student’s held-out perplexity before the first step.',
  threshold:
    'Worse than choosing among all V tokens at random: no model that reads these ids is that bad.',
  severity: 'problem',
  caveat:
    'Which of them it is: weights that did not load, or a tokenizer of the same size with other ' +
    'ids.',
  look(evidence) {
    const { config, facts } = evidence;
    const start = atStart(evidence);
    const trained = config.student_model !== '' && config.student_model !== 'teacher';
    // With a tokenizer of its own, its ids are right, and no other student is the remedy.
    if (alignedLossOf(config)) return undefined;
    if (!trained || !start || start.studentPerplexity <= facts.vocabularySize) return undefined;
    return {
      text:
        `The student starts with a perplexity of ${figure(start.studentPerplexity)}, worse than ` +
        `the ${figure(facts.vocabularySize)} of a random choice: its ids mean other tokens, or ` +
        'its weights did not load.',
      advice: 'Choose a student with the teacher’s own tokenizer, or a new student.',
      change: newStudent(evidence),
      region: { chart: 'perplexity', from: 0, to: 0 },
    };
  },
};
