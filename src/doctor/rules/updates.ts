// Rules about the step: whether updates happen, reach the weights, and are of a sound size.

import { FIELDS } from '../../config';
import {
  atStart,
  type Evidence,
  gapCovered,
  measured,
  median,
  skippedInARow,
  warm,
} from '../evidence';
import type { Finding, Rule } from '../rule';
import { count, counted, figure, nonFiniteAt, percent, rounded } from '../words';
import { usualLearningRate } from './settings';

/** Steps that a halving loss scale takes to come down by 2^6: more are not an adaptation. */
const SKIPPED_IN_A_ROW = 6;

function skipped({ config, steps, nonFinite, facts }: Evidence): Finding | undefined {
  const row = skippedInARow(steps);
  const [first, last] = [row[0], row.at(-1)];
  if (!first || !last || row.length < SKIPPED_IN_A_ROW || last.tokens === 0) return undefined;
  const seen = nonFinite ? ` ${nonFiniteAt(nonFinite)}` : '';
  const all = last.appliedTotal === 0 ? ', and no step has changed the student' : '';
  const scaled = facts.dtype === 'float16';
  const tooLarge = scaled && last.appliedTotal === 0 && config.initial_loss_scale > 65536;
  return {
    text:
      `The last ${counted(row.length, 'step')} were skipped${all}: a gradient was not finite at ` +
      `a loss scale of ${figure(last.lossScale)}.${seen}`,
    advice: tooLarge
      ? 'Start with PyTorch’s loss scale of 65,536.'
      : scaled
        ? 'Use float32, which has the range, or a lower learning rate.'
        : 'Use a lower learning rate; if the weights hold NaN, start from others.',
    change: tooLarge
      ? { initial_loss_scale: 65536 }
      : scaled
        ? { model_dtype: 'float32' }
        : { student_lr: rounded(config.student_lr / 10) },
    region: { chart: 'scale', from: first.step, to: last.step },
  };
}

export const skippedSteps: Rule = {
  title: 'Steps are skipped in a row',
  watches: 'Whether each step was applied, its loss scale, and where a NaN begins.',
  threshold:
    '6 in a row. A loss scale that adapts skips a step or two at a time: 6 halvings are a factor ' +
    'of 64.',
  severity: 'problem',
  caveat: 'Why the gradient overflows: a scale too high, weights too large, or data.',
  explainedBy: ['no-measurement'],
  look: skipped,
};

const LOW_SCALE = 64;

export const lossScaleCollapses: Rule = {
  title: 'The loss scale has collapsed',
  watches: 'The loss scale, in float16.',
  threshold:
    'At most 64, and 1/1,024 of its start: gradients under 1e-9, of which late training has ' +
    'many, are then below the smallest float16, 6e-8.',
  severity: 'warning',
  caveat: 'The run may still train: it then loses its small gradients only.',
  explainedBy: ['skipped-steps'],
  look({ config, facts, steps }) {
    const last = steps.at(-1);
    if (facts.dtype !== 'float16' || !last) return undefined;
    const { lossScale } = last;
    if (lossScale > LOW_SCALE || lossScale > config.initial_loss_scale / 1024) return undefined;
    return {
      text:
        `The loss scale fell from ${figure(config.initial_loss_scale)} to ${figure(lossScale)} ` +
        `in ${counted(last.skippedTotal, 'skipped step')}.`,
      advice: 'Use float32, which needs no loss scale.',
      change: { model_dtype: 'float32' },
      region: { chart: 'scale', from: 0, to: last.step },
    };
  },
};

/** Applied steps in a row; one gradient of 0 could be a batch that fits perfectly. */
const ZERO_GRADIENTS = 5;

export const disconnectedLoss: Rule = {
  title: 'The loss is not connected to the weights',
  watches: 'The gradient’s norm in applied steps.',
  threshold: 'Exactly 0 in 5 applied steps: a loss that any weight can change has a gradient.',
  severity: 'problem',
  caveat: 'Where the graph is cut. Weight decay may still move the weights.',
  explainedBy: ['skipped-steps'],
  look({ steps }) {
    const recent = steps.filter(({ applied }) => applied).slice(-ZERO_GRADIENTS);
    if (recent.length < ZERO_GRADIENTS || recent.some(({ gradNorm }) => gradNorm !== 0))
      return undefined;
    const last = recent[recent.length - 1];
    return {
      text:
        `The gradient of the last ${counted(recent.length, 'applied step')} is exactly 0, at a ` +
        `loss of ${figure(last.loss)}: no weight can change it.`,
      advice:
        'Look for what cuts the graph: a detached loss, frozen weights, or a loss without a ' +
        'weight.',
      region: { chart: 'gradient', from: recent[0].step, to: last.step },
    };
  },
};

export const lostUpdates: Rule = {
  title: 'Updates are lost in rounding',
  watches: 'How far the weights have moved, beside the gradient and the learning rate.',
  threshold:
    'A change of exactly 0 after applied steps with a gradient: each update is less than half ' +
    'the distance to the next number that the weights can hold.',
  severity: 'problem',
  caveat: 'Whether a rate that this storage can hold suits the model.',
  explainedBy: ['skipped-steps', 'disconnected-loss'],
  look({ config, steps, evaluations }) {
    const last = evaluations.at(-1);
    const step = steps.findLast(({ applied }) => applied);
    if (last?.weightChange !== 0 || !step || last.step === 0) return undefined;
    if (!(step.gradNorm > 0) || step.learningRate === 0) return undefined;
    return {
      text:
        `${counted(step.appliedTotal, 'step')} with a gradient of ${figure(step.gradNorm)} and a ` +
        `learning rate of ${figure(step.learningRate)} changed no weight.`,
      advice: 'Keep the weights in float32 (master weights), or raise the learning rate.',
      change: { student_lr: Math.min(rounded(config.student_lr * 10), FIELDS.student_lr.max) },
      region: { chart: 'loss', from: 0, to: last.step },
    };
  },
};

/** Of the way to the teacher: the default run covers a third in 20 steps. */
const LEAST_COVERED = 0.05;
/** ‖Δw‖/‖w‖ a step below which a weight needs over 10,000 steps to change by its own size. */
const SMALL_UPDATE = 1e-4;
const STEPS_TO_JUDGE = 30;

export const learningRateLow: Rule = {
  title: 'The learning rate is too low',
  watches: 'Held-out perplexity since the start, and ‖Δw‖/‖w‖ of a step.',
  threshold:
    'Under 5% of the way to the teacher after 30 steps past the warm-up (the default run covers ' +
    'a third in 20), while a step moves the weights by less than 1e-4 of their size.',
  severity: 'problem',
  caveat: 'More steps would help, too. It does not say which rate is best.',
  explainedBy: ['skipped-steps', 'disconnected-loss', 'lost-updates', 'learning-rate-high'],
  look(evidence) {
    const { config, evaluations } = evidence;
    const covered = gapCovered(evidence);
    const [start, last] = [atStart(evidence), measured(evidence).at(-1)];
    if (covered === undefined || !start || !last) return undefined;
    if (last.step < warm(evidence) + STEPS_TO_JUDGE || covered >= LEAST_COVERED) return undefined;
    const ratios = evaluations.flatMap(({ updateRatio }) => updateRatio ?? []);
    const ratio = Math.max(...ratios);
    if (ratios.length === 0 || ratio > SMALL_UPDATE) return undefined;
    const { student_lr } = config;
    const measuredRate = student_lr * Math.min(10 * Math.max(1, SMALL_UPDATE / ratio), 1000);
    const { max } = FIELDS.student_lr;
    const better = Math.min(rounded(Math.max(measuredRate, usualLearningRate(evidence))), max);
    return {
      text:
        `In ${counted(last.step, 'step')} perplexity went from ` +
        `${figure(start.studentPerplexity)} to ${figure(last.studentPerplexity)}, ` +
        `${percent(Math.max(0, covered))} of the way to the teacher’s ` +
        `${figure(last.teacherPerplexity ?? Number.NaN)}: a step moves the weights by only ` +
        `${figure(ratio)} of their size.`,
      advice: `Raise the learning rate from ${figure(student_lr)} to ${figure(better)}.`,
      change: { student_lr: better },
      region: { chart: 'perplexity', from: 0, to: last.step },
    };
  },
};

/** Held-out loss, in nats, above its own minimum. */
const CLEARLY_WORSE = 0.2;
/** ‖Δw‖/‖w‖ of a step; healthy runs stay below 0.03, those at learning rate 0.1 reach 0.08. */
const LARGE_UPDATE = 0.05;

export const learningRateHigh: Rule = {
  title: 'The learning rate is too high',
  watches:
    'Held-out perplexity beside its best and the unigram model’s, the training loss, ‖Δw‖/‖w‖.',
  threshold:
    'Held-out loss 0.2 nats above its best while the training loss rose as well (an evaluation’s ' +
    'noise is under 0.05). Or no better than counting tokens 30 steps past the warm-up, after a ' +
    'step that moved the weights by over 5% of their size: healthy runs stay under 3%.',
  severity: 'problem',
  caveat: 'A live change of the settings can do the same.',
  explainedBy: ['skipped-steps', 'no-measurement', 'teacher-unfit', 'start-unfit'],
  look(evidence) {
    const { config, steps, evaluations, facts } = evidence;
    const all = measured(evidence);
    const last = all.at(-1);
    if (!last || last.step === 0) return undefined;
    const best = all.reduce((a, b) => (b.studentPerplexity < a.studentPerplexity ? b : a));
    const worse = Math.log(last.studentPerplexity / best.studentPerplexity);
    const ce = (from: number, to: number) =>
      median(steps.filter(({ step }) => step > from && step <= to).map((record) => record.ce));
    const rose = ce(last.step - 10, last.step) > ce(best.step - 10, best.step + 5) + 0.1;
    const update = Math.max(0, ...evaluations.flatMap(({ updateRatio }) => updateRatio ?? []));
    const unigram = facts.data?.unigramPerplexity ?? Number.POSITIVE_INFINITY;
    const stuck = last.step >= warm(evidence) + STEPS_TO_JUDGE && last.studentPerplexity >= unigram;
    const better = rounded(config.student_lr / 10);
    const cure = {
      advice: `Lower the learning rate from ${figure(config.student_lr)} to ${figure(better)}.`,
      change: { student_lr: better },
      region: { chart: 'perplexity', from: best.step, to: last.step },
    } as const;
    if (worse > CLEARLY_WORSE && (rose || best.step === 0)) {
      return {
        text:
          `Perplexity is ${figure(last.studentPerplexity)} at step ${count(last.step)}; its best ` +
          `was ${figure(best.studentPerplexity)} at step ${count(best.step)}, and the training ` +
          'loss rose with it.',
        ...cure,
      };
    }
    if (!stuck || update < LARGE_UPDATE) return undefined;
    return {
      text:
        `After ${counted(last.step, 'step')} perplexity is ${figure(last.studentPerplexity)}, no ` +
        `better than counting single tokens (${figure(unigram)}); a step moved the weights by ` +
        `${percent(update)} of their size.`,
      ...cure,
    };
  },
};

const SPIKE = 12;
const SPIKES = 3;
const RECENT = 100;

export const gradientSpikes: Rule = {
  title: 'The gradient spikes',
  watches: 'The gradient’s norm beside its median over the last 100 steps.',
  threshold:
    'Three steps of 12 times the median: the third largest gradient of healthy runs is under 8 ' +
    'times it.',
  severity: 'warning',
  caveat: 'Clipping may make the spikes harmless.',
  explainedBy: ['skipped-steps', 'learning-rate-high'],
  look(evidence) {
    const recent = evidence.steps.filter(({ gradNorm }) => gradNorm > 0).slice(-RECENT);
    const middle = median(recent.map(({ gradNorm }) => gradNorm));
    const spikes = recent.filter(({ gradNorm }) => gradNorm > SPIKE * middle);
    if (spikes.length < SPIKES) return undefined;
    const largest = spikes.reduce((a, b) => (b.gradNorm > a.gradNorm ? b : a));
    const { max_grad_norm } = evidence.config;
    const unclipped = max_grad_norm === 0 || max_grad_norm > SPIKE * middle;
    return {
      text:
        `${spikes.length} of the last ${counted(recent.length, 'step')} had a gradient over ` +
        `${SPIKE} times the median of ${figure(middle)}; the largest, at step ` +
        `${count(largest.step)}, is ${figure(largest.gradNorm)}.`,
      advice: unclipped
        ? 'Clip the gradient.'
        : 'Look at the data of those steps, or lower the learning rate.',
      change: unclipped
        ? { max_grad_norm: Math.min(1, rounded(2 * middle)) }
        : { student_lr: rounded(evidence.config.student_lr / 3) },
      region: { chart: 'gradient', from: spikes[0].step, to: recent[recent.length - 1].step },
    };
  },
};

const CLIPPED_STEPS = 30;
const FAR_ABOVE = 10;

export const alwaysClipped: Rule = {
  title: 'Clipping is always on',
  watches: 'The gradient’s norm and max_grad_norm.',
  threshold:
    'Each of the last 30 steps clipped, by a factor of 10 at the median: clipping then sets the ' +
    'size of every step, not only of the rare large ones.',
  severity: 'note',
  caveat: 'AdamW divides by the gradient’s size, so a constant factor changes little.',
  explainedBy: ['skipped-steps', 'learning-rate-high', 'gradient-spikes'],
  look({ config: { max_grad_norm: limit }, steps }) {
    const recent = steps.slice(-CLIPPED_STEPS);
    if (limit === 0 || recent.length < CLIPPED_STEPS) return undefined;
    const middle = median(recent.map(({ gradNorm }) => gradNorm));
    if (recent.some(({ gradNorm }) => !(gradNorm > limit)) || middle < FAR_ABOVE * limit)
      return undefined;
    return {
      text:
        `Every one of the last ${counted(recent.length, 'step')} was clipped to ` +
        `${figure(limit)}; ` +
        `their gradient’s median is ${figure(middle)}.`,
      advice: 'Clip above the usual gradient, so that only the rare large one is cut.',
      change: { max_grad_norm: Math.min(rounded(2 * middle), FIELDS.max_grad_norm.max) },
      region: { chart: 'gradient', from: recent[0].step, to: recent[recent.length - 1].step },
    };
  },
};
