// What a run's twin shows, as a sentence: how much better one student became than the other, where
// only one setting differs. Pure; the page and the command line say the same.

import {
  type Config,
  DEFAULTS,
  FIELDS,
  type Field,
  type FieldName,
  twinChange,
  twinStep,
} from './config';

/** What a student reached on held-out text. */
export interface Reached {
  step: number;
  studentPerplexity?: number;
  kl?: number;
  agreement?: number;
}

/** What the run gained over its twin in perplexity: mean and sample deviation over some seeds. */
export interface SeedsGain {
  seeds: number;
  mean: number;
  deviation: number;
}

/** Smaller differences are called none: another seed moves the result by as much. */
const NONE = 0.005;

/**
 * Compares the first student with its twin at the same time. Undefined without a perplexity of
 * both.
 * @param over several seeds, if they were run
 */
export function twinSentence(
  config: Config,
  first: Reached | undefined,
  twin: Reached | undefined,
  over?: SeedsGain,
): string | undefined {
  const change = twinChange(config);
  if (!change || !first?.studentPerplexity || !twin?.studentPerplexity) return undefined;
  if (twinStep(config, first.step) !== twin.step) return undefined;
  const ratio = first.studentPerplexity / twin.studentPerplexity - 1;
  const [name] = Object.keys(change) as FieldName[];
  const { symbol, label }: Field = FIELDS[name];
  const [mine, its] =
    change.loss === 'ce'
      ? ['with the teacher', 'without']
      : [`at ${symbol ?? label} ${config[name]}`, `at ${change[name]}`];
  const verdict =
    Math.abs(ratio) < NONE
      ? 'made no difference'
      : `${ratio < 0 ? 'lowered' : 'raised'} perplexity by ${percent(Math.abs(ratio))}`;
  const subject = change.loss === 'ce' ? 'the teacher' : `${symbol ?? label} ${config[name]}`;
  const figures = [
    `perplexity ${first.studentPerplexity.toFixed(1)} ${mine}, ` +
      `${twin.studentPerplexity.toFixed(1)} ${its}`,
    ...pair('KL to the teacher', first.kl, twin.kl, (value) => value.toFixed(3)),
    ...pair('agreement', first.agreement, twin.agreement, percent),
  ];
  const when =
    twin.step === first.step
      ? `step ${first.step}`
      : `step ${first.step} and the twin’s ${twin.step}`;
  return `After ${when}, ${subject} ${verdict}: ${figures.join('; ')}. ${gainInWords(over)}`;
}

/** Over several seeds, or that there is but one. */
export function gainInWords(over: SeedsGain | undefined): string {
  if (!over) return 'This is one seed: another may differ by a few per cent.';
  const { seeds, mean, deviation } = over;
  const digits = deviation < 0.05 ? 2 : 1;
  const [middle, width] = [mean, deviation].map((value) => value.toFixed(digits));
  const gain = `Over ${seeds} seeds the gain over the twin was ${middle} ± ${width}`;
  return Math.abs(mean) > 2 * deviation
    ? `${gain} (mean and standard deviation).`
    : `${gain} (mean and standard deviation): it may be chance.`;
}

/** Paces that differ less are equal. One that was chosen was measured, and that differs by more. */
const SAME_PACE = { equalSteps: 0.05, chosen: 0.3 };

/**
 * The pace at which run and twin would train for equal time on the machine that measured it, with
 * two digits; undefined if that is the twin's pace already, or unknown.
 */
export function equalTimePace(
  { twin_pace }: Pick<Config, 'twin_pace'>,
  measured: number | undefined,
): number | undefined {
  const { min, max } = FIELDS.twin_pace;
  if (measured === undefined || !(measured > 0)) return undefined;
  const pace = Number(Math.min(max, Math.max(min, measured)).toPrecision(2));
  const same = twin_pace === DEFAULTS.twin_pace ? SAME_PACE.equalSteps : SAME_PACE.chosen;
  return Math.abs(pace / twin_pace - 1) < same ? undefined : pace;
}

/** What equal time would be, in words; undefined if it is what the run has. */
export function paceSentence(config: Config, measured: number | undefined): string | undefined {
  const pace = equalTimePace(config, measured);
  if (pace === undefined) return undefined;
  const steps = twinStep({ twin_pace: pace }, config.train_steps);
  return (
    `On this machine a step of the run took ${pace} times as long as one of its twin: with ` +
    `twin_pace=${pace}, ${steps} steps to ${config.train_steps}, both train for equal time.`
  );
}

const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;

const pair = (
  what: string,
  mine: number | undefined,
  its: number | undefined,
  text: (value: number) => string,
): string[] =>
  mine === undefined || its === undefined ? [] : [`${what} ${text(mine)} and ${text(its)}`];
