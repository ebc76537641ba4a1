// Rules about what the student can learn: capacity, overfitting, other held-out text, and what it
// says.

import type { FieldName } from '../../config';
import { type Evidence, measured, median, warm } from '../evidence';
import type { Finding, Rule } from '../rule';
import { count, figure, percent } from '../words';

/** In nats of held-out loss: what an evaluation of some thousand tokens can tell. */
const CLEARLY = 0.05;

/** The cross-entropies of the steps around one. */
const trainingLosses = ({ steps }: Evidence, around: number) =>
  steps
    .filter(({ step, ce }) => Math.abs(step - around) <= 15 && Number.isFinite(ce))
    .map(({ ce }) => ce);

/** The standard error of the difference between two means. */
function errorOfDifference(...groups: readonly number[][]): number {
  const squares = groups.map((values) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const squared = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    return squared / (values.length - 1) / values.length;
  });
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
}

export const overfitting: Rule = {
  title: 'The student learns the text by heart',
  watches: 'Held-out perplexity beside its best, and the training cross-entropy.',
  threshold:
    'Held-out loss 0.05 nats above its best in two evaluations, since the noise of one is about ' +
    'half of that; and a training loss that fell by 0.05 and by 3 standard errors, since a step ' +
    'of few tokens says little.',
  severity: 'warning',
  caveat: 'Held-out text of another kind than the training text can rise as well.',
  explainedBy: ['learning-rate-high', 'skipped-steps', 'held-out-differs'],
  look(evidence) {
    const all = measured(evidence);
    const best = all.reduce<(typeof all)[number] | undefined>(
      (a, b) => (a && a.studentPerplexity <= b.studentPerplexity ? a : b),
      undefined,
    );
    const after = all.filter(({ step }) => best && step > best.step).slice(-2);
    if (!best || best.step === 0 || after.length < 2) return undefined;
    const above = (perplexity: number) => Math.log(perplexity / best.studentPerplexity);
    if (after.some(({ studentPerplexity }) => above(studentPerplexity) < CLEARLY)) return undefined;
    const last = after[1];
    const losses = [best, last].map(({ step }) => trainingLosses(evidence, step));
    const [then, now] = losses.map(median);
    if (!(then - now > Math.max(CLEARLY, 3 * errorOfDifference(...losses)))) return undefined;
    return {
      text:
        `Held-out perplexity was ${figure(best.studentPerplexity)} at step ${count(best.step)} ` +
        `and is ${figure(last.studentPerplexity)}, while the training loss fell from ` +
        `${figure(then)} to ${figure(now)} nats.`,
      advice: `Stop at step ${count(Math.max(1, best.step))}, or use more text.`,
      change: { train_steps: Math.max(1, best.step) },
      region: { chart: 'perplexity', from: best.step, to: last.step },
    };
  },
};

/** In nats. Healthy runs stay under 0.2, and those of 32 tokens a step are the noisiest. */
const APART = 0.5;

/** Windows of so many tokens begin at every place of a shorter line; n itself if it is prime. */
function primeUpTo(n: number): number {
  const isPrime = Array.from({ length: n }, (_, i) => i).every((i) => i < 2 || n % i !== 0);
  return isPrime ? n : primeUpTo(n - 1);
}

export const heldOutDiffers: Rule = {
  title: 'The held-out text is unlike the training text',
  watches: 'Held-out loss beside the training cross-entropy, before any token is a target twice.',
  threshold:
    '0.5 nats apart, and 3 standard errors, within the first pass: fresh text is then no harder ' +
    'than held-out text, and healthy runs are under 0.2 apart.',
  severity: 'warning',
  caveat:
    'Whether the texts differ, or only where their lines lie in the windows: all windows of a ' +
    'pass begin alike in lines whose length shares a factor with the context.',
  explainedBy: ['no-measurement', 'skipped-steps', 'learning-rate-high'],
  look(evidence) {
    const { config, facts } = evidence;
    const last = measured(evidence).at(-1);
    if (!last || last.step === 0 || !facts.data) return undefined;
    const { batch_size, gradient_accumulation, max_length } = config;
    const passes = (last.step * batch_size * gradient_accumulation) / facts.data.windows;
    const losses = trainingLosses(evidence, last.step);
    if (passes > 1 || losses.length < 2) return undefined;
    const [training, heldOut] = [median(losses), Math.log(last.studentPerplexity)];
    if (!(heldOut - training > Math.max(APART, 3 * errorOfDifference(losses)))) return undefined;
    const length = primeUpTo(max_length);
    return {
      text:
        `After ${figure(passes)} passes over the training text the held-out loss is ` +
        `${figure(heldOut)} nats, and that of training text which is read for the first time ` +
        `${figure(training)}.`,
      advice:
        'Mix the documents, so that both parts have text of each kind. Where all lines are ' +
        'equally long, take a context that shares no factor with their length.',
      change: length < max_length ? { max_length: length } : undefined,
      region: { chart: 'perplexity', from: 0, to: last.step },
    };
  },
};

/** The last part of the run that must be flat, and the evaluations that it must have. */
const PLATEAU = { share: 0.3, evaluations: 4 };
/** In nats: a perplexity a half above the teacher's. */
const FAR = 0.4;
/** Of the way that is left. */
const HARDLY = 0.1;

/**
 * How much y changes from the first x to the last along the line of least squares, and the standard
 * error of that.
 */
function trend(points: readonly (readonly [x: number, y: number])[]) {
  const sum = (of: (x: number, y: number) => number) =>
    points.reduce((total, [x, y]) => total + of(x, y), 0);
  const [meanX, meanY] = [sum((x) => x), sum((_, y) => y)].map((total) => total / points.length);
  const squares = sum((x) => (x - meanX) ** 2);
  const slope = sum((x, y) => (x - meanX) * (y - meanY)) / squares;
  const rest = sum((x, y) => (y - meanY - slope * (x - meanX)) ** 2);
  const span = (points.at(-1)?.[0] ?? 0) - points[0][0];
  return {
    change: slope * span,
    error: Math.sqrt(rest / (points.length - 2) / squares) * span,
  };
}

export const capacity: Rule = {
  title: 'The student has reached what it can hold',
  watches: 'Held-out perplexity beside the teacher’s, while the learning rate is still high.',
  threshold:
    'In the last 30% of the run and 4 evaluations, the student came at most a tenth of the way ' +
    'that is left to the teacher, and at that pace it would come no further in the rest of the ' +
    'run, even with a standard error added; at half the peak learning rate or more, with a ' +
    'perplexity half above the teacher’s.',
  severity: 'note',
  caveat: 'A lower learning rate or more text may still move it.',
  explainedBy: [
    'overfitting',
    'learning-rate-low',
    'learning-rate-high',
    'skipped-steps',
    'disconnected-loss',
    'lost-updates',
    'teacher-unfit',
    'tokenizer-unfit',
    'starts-as-teacher',
    'overconfident',
    'teacher-ignored',
    'batch-repeats',
    'many-epochs',
  ],
  look(evidence) {
    const { config, steps } = evidence;
    const all = measured(evidence);
    const last = all.at(-1);
    const rate = steps.at(-1)?.learningRate ?? 0;
    if (!last?.teacherPerplexity || rate < config.student_lr / 2) return undefined;
    const from = last.step - PLATEAU.share * config.train_steps;
    const flat = all.filter(({ step }) => step > 0 && step >= from);
    if (from < warm(evidence) || flat.length < PLATEAU.evaluations) return undefined;
    const { change, error } = trend(
      flat.map(({ step, studentPerplexity }) => [step, Math.log(studentPerplexity)]),
    );
    const gained = -change;
    const away = Math.log(last.studentPerplexity / last.teacherPerplexity);
    const ahead = (config.train_steps - last.step) / (last.step - flat[0].step);
    const hoped = (gained + error) * Math.max(1, ahead);
    if (hoped >= HARDLY * away || gained < -CLEARLY || away < FAR) return undefined;
    const { student_width, student_model } = config;
    const wider = student_model === '' && student_width <= 384;
    return {
      text:
        `Since step ${count(flat[0].step)} perplexity has gone from ` +
        `${figure(flat[0].studentPerplexity)} to ${figure(last.studentPerplexity)}; the ` +
        `teacher’s is ${figure(last.teacherPerplexity)}.`,
      advice: wider
        ? `Try a student of twice the width, ${2 * student_width}.`
        : 'Try a larger student.',
      change: wider ? { student_width: 2 * student_width } : undefined,
      region: { chart: 'perplexity', from: flat[0].step, to: last.step },
    };
  },
};

/** Words and signs of a run. */
const RUN = 3;
const REPEATED = 0.4;
const ENOUGH = 16;

/** The share of a text's runs of three words and signs that stood in it before. */
function repetition(text: string): number {
  const units = text.match(/[\p{L}\p{N}]+|[^\p{L}\p{N}\s]/gu) ?? [];
  if (units.length < ENOUGH) return 0;
  const seen = new Set<string>();
  let repeated = 0;
  for (let i = 0; i + RUN <= units.length; i++) {
    const run = units.slice(i, i + RUN).join(' ');
    if (seen.has(run)) repeated++;
    seen.add(run);
  }
  return repeated / (units.length - RUN + 1);
}

/** The teacher's soft targets, or what is left to do for a student that has them. */
function softer({ config }: Evidence, why: string): Pick<Finding, 'advice' | 'change'> {
  const change = { loss: 'mixed', kd_loss: 'fkl', temperature: 2, alpha: 0.7 } as const;
  const has = Object.entries(change).every(([name, value]) => config[name as FieldName] === value);
  return has
    ? { advice: 'Train on more text, or use a larger student.' }
    : { advice: `Use forward KL at temperature 2, ${why}.`, change };
}

export const repeats: Rule = {
  title: 'The student repeats itself',
  watches: 'The latest sample of both models.',
  threshold:
    'Two fifths of its runs of three words or signs stood in it before, and less of the ' +
    'teacher’s: prose has almost none.',
  severity: 'warning',
  caveat: 'One sample is one roll of the dice.',
  explainedBy: ['one-token-dominates', 'no-measurement'],
  look(evidence) {
    const last = evidence.evaluations.findLast(({ sample }) => sample !== undefined);
    if (!last?.sample || last.step === 0) return undefined;
    const [student, teacher] = [last.sample.student, last.sample.teacher].map(repetition);
    if (student < REPEATED || teacher >= REPEATED) return undefined;
    return {
      text:
        `At step ${count(last.step)} ${percent(student)} of what the student says had been said ` +
        `before in the same sample (teacher: ${percent(teacher)}).`,
      ...softer(evidence, 'which keeps the student from betting on few words'),
    };
  },
};

/** Of the mean confidence beside the share of right guesses. */
const OVERCONFIDENT = 0.15;

export const overconfident: Rule = {
  title: 'The student is too sure of itself',
  watches:
    'The student’s probability of its likeliest token, beside how often that token is right.',
  threshold: '15 points apart: a calibrated model has none, and the default run under 3.',
  severity: 'warning',
  caveat: 'Its likeliest token may still be as often right as it can be.',
  explainedBy: [
    'overfitting',
    'held-out-differs',
    'learning-rate-high',
    'no-measurement',
    'skipped-steps',
  ],
  look(evidence) {
    const last = evidence.evaluations.findLast(({ confidence }) => confidence !== undefined);
    if (!last || last.step === 0) return undefined;
    const { confidence = 0, accuracy = 0 } = last;
    if (confidence - accuracy < OVERCONFIDENT) return undefined;
    return {
      text:
        `At step ${count(last.step)} the student gives its likeliest token ` +
        `${percent(confidence)} on average, and that token is right in ${percent(accuracy)}.`,
      ...softer(evidence, 'whose soft targets keep a student calibrated'),
      region: { chart: 'perplexity', from: 0, to: last.step },
    };
  },
};
