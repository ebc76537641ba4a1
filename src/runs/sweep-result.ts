// What a sweep shows: its runs grouped by the values that they share, the best of them in a
// sentence, and how long runs will take. Pure.

import { type Config, FIELDS, type Field, type FieldName, tokensPerStep } from '../config';
import type { RunRow } from './row';
import type { Sweep } from './sweep';

/** Runs of a sweep that differ in nothing but the seed. */
export interface Group {
  /** "α 0.5, T 2"; empty in a sweep of seeds alone. */
  values: string;
  /** Held-out perplexities of its runs, by seed. */
  bySeed: ReadonlyMap<number, number>;
  mean: number;
  /** Sample standard deviation over the seeds; undefined for one. */
  deviation?: number;
}

/** Settings that choose what is held out, or how it is measured. */
const MEASURED_BY: readonly FieldName[] = [
  'teacher_model',
  'corpus',
  'max_length',
  'batch_size',
  'eval_batches',
];

const labelOf = (name: FieldName) => {
  const { symbol, label }: Field = FIELDS[name];
  return symbol ?? label;
};

/** "α 0.5, T 2" */
export function valuesIn(config: Config, fields: readonly FieldName[]): string {
  const shown = (value: string | number) => (value === '' ? '(empty)' : value);
  return fields.map((name) => `${labelOf(name)} ${shown(config[name])}`).join(', ');
}

/** "lr and Seed" */
export const fieldsInWords = (fields: readonly FieldName[]) => fields.map(labelOf).join(' and ');

export function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Sample standard deviation; undefined for one value. */
export function deviationOf(values: readonly number[]): number | undefined {
  if (values.length < 2) return undefined;
  const mean = meanOf(values);
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}

/** The best first. Runs without a perplexity are in none. */
export function groupsOf({ fields, runs }: Sweep): Group[] {
  const named = fields.filter((name) => name !== 'seed');
  const groups = new Map<string, Map<number, number>>();
  for (const { config, outcome } of runs) {
    if (outcome?.perplexity === undefined || outcome.problem !== undefined) continue;
    const values = valuesIn(config, named);
    const bySeed = groups.get(values) ?? new Map<number, number>();
    groups.set(values, bySeed.set(config.seed, outcome.perplexity));
  }
  return [...groups]
    .map(([values, bySeed]) => {
      const perplexities = [...bySeed.values()];
      return { values, bySeed, mean: meanOf(perplexities), deviation: deviationOf(perplexities) };
    })
    .sort((a, b) => a.mean - b.mean);
}

const decimals = (value: number) => (value < 10 ? 2 : value < 1000 ? 1 : 0);
/** 8.12, 41.4; large ones without decimals. */
const figure = (value: number) => value.toFixed(decimals(value));

const spread = ({ mean, deviation, bySeed }: Group) =>
  deviation === undefined
    ? figure(mean)
    : `${figure(mean)} ± ${deviation.toFixed(decimals(mean))} over ${bySeed.size} seeds`;

/** The best of what has ended, with its margin; undefined until two can be compared. */
export function bestSentence(sweep: Sweep): string | undefined {
  const [best, next] = groupsOf(sweep);
  if (!best) return undefined;
  if (!next) {
    if (best.deviation === undefined) return undefined;
    const perplexities = [...best.bySeed.values()];
    const [low, high] = [Math.min(...perplexities), Math.max(...perplexities)];
    return (
      `Held-out perplexity is ${spread(best)} (mean and standard deviation), ` +
      `from ${figure(low)} to ${figure(high)}. A smaller difference between two runs may be chance.`
    );
  }
  const margin = next.mean - best.mean;
  const percent = (100 * margin) / next.mean;
  const sentence =
    `Best is ${best.values}: held-out perplexity ${spread(best)}, ${figure(margin)} ` +
    `(${percent.toFixed(percent < 10 ? 1 : 0)}%) lower than ${next.values} with ${spread(next)}.`;
  return [sentence, caveat(sweep, best, next)].join(' ');
}

function caveat({ fields }: Sweep, best: Group, next: Group): string {
  const measured = fields.filter((name) => MEASURED_BY.includes(name));
  if (measured.length > 0) {
    return (
      `${fieldsInWords(measured)} also changes the held-out text that is measured, ` +
      'so such perplexities compare only roughly.'
    );
  }
  // The same seed has the same held-out text and the same batches, so pairs say most.
  const margins = [...best.bySeed].flatMap(([seed, perplexity]) => {
    const other = next.bySeed.get(seed);
    return other === undefined ? [] : [other - perplexity];
  });
  const deviation = deviationOf(margins);
  if (deviation === undefined)
    return 'This is one seed each: another may differ by a few per cent.';
  const mean = meanOf(margins);
  const pairs = `Seed by seed it is ${figure(mean)} ± ${figure(deviation)} lower`;
  return mean > 2 * deviation ? `${pairs}.` : `${pairs}: it may be chance.`;
}

/** What a step's time depends on most. */
const SHAPE: readonly FieldName[] = [
  'teacher_model',
  'student_model',
  'student_from_layers',
  'student_layers',
  'student_width',
  'student_heads',
  'student_experts',
  'experts_per_token',
  'twin',
  'teacher_cache',
];

/**
 * About how long these runs will train, from the kept run that is most like each of them; the
 * newest of equals. Undefined without any.
 */
export function secondsOf(
  configs: readonly Config[],
  rows: readonly Pick<RunRow, 'config' | 'step' | 'seconds' | 'time'>[],
): number | undefined {
  const measured = rows.filter(({ step, seconds }) => step > 0 && seconds > 0);
  if (measured.length === 0) return undefined;
  return configs.reduce((sum, config) => {
    const alike = (row: (typeof measured)[number]) =>
      SHAPE.filter((name) => row.config[name] === config[name]).length;
    const [nearest] = measured.toSorted(
      (a, b) => alike(b) - alike(a) || b.time.localeCompare(a.time),
    );
    const perToken = nearest.seconds / nearest.step / tokensPerStep(nearest.config);
    return sum + perToken * tokensPerStep(config) * config.train_steps;
  }, 0);
}
