// What a run's twin shows, as a sentence: how much better one student became than the other, where
// only one setting differs. Pure; the page and the command line say the same.

import { type Config, FIELDS, type Field, type FieldName, twinChange } from './config';

/** What a student reached on held-out text. */
export interface Reached {
  step: number;
  studentPerplexity?: number;
  kl?: number;
  agreement?: number;
}

/** Smaller differences are called none: another seed moves the result by as much. */
const NONE = 0.005;

/**
 * Compares the first student with its twin after the same step. Undefined without a perplexity of
 * both.
 */
export function twinSentence(
  config: Config,
  first: Reached | undefined,
  twin: Reached | undefined,
): string | undefined {
  const change = twinChange(config);
  if (!change || !first?.studentPerplexity || !twin?.studentPerplexity) return undefined;
  if (first.step !== twin.step) return undefined;
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
  return (
    `After step ${first.step}, ${subject} ${verdict}: ${figures.join('; ')}. ` +
    'This is one seed: another may differ by a few per cent.'
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
