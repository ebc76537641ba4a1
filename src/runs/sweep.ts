// A sweep: a few runs that differ in one or two settings, listed with their ids before the first
// one starts. What came of each is kept with the list, so that a page that was closed goes on where
// the sweep stopped. Pure.

import { type Config, checkConfig, checkField, FIELDS, type FieldName } from '../config';
import { readValue } from '../link';
import { newRunId } from './names';
import type { RunRow } from './row';

const MOST_RUNS = 8;
export const MOST_FIELDS = 2;

/** What changes no result, or is a setting for one run alone. */
const NOT_SWEPT: readonly FieldName[] = ['prompt', 'sample_tokens', 'twin'];
export const SWEPT = (Object.keys(FIELDS) as FieldName[]).filter(
  (name) => !NOT_SWEPT.includes(name),
);

/** How a run ended. */
export interface Outcome {
  step: number;
  /** Of the last evaluation, as in EvaluationRecord. */
  perplexity?: number;
  teacherPerplexity?: number;
  kl?: number;
  agreement?: number;
  /** Trained, without pauses. */
  seconds: number;
  /** Why it did not reach its last step. */
  problem?: string;
}

interface SweepRun {
  /** Its id in the library, once it has started. */
  id: string;
  config: Config;
  outcome?: Outcome;
}

export interface Sweep {
  id: string;
  /** ISO date of when it was planned. */
  time: string;
  /** The settings in which its runs differ. */
  fields: FieldName[];
  runs: SweepRun[];
  /** Names of the user's files that all runs read; none for a built-in text. */
  texts?: string[];
}

/** A field to vary, and the values as a person lists them. */
export interface Axis {
  name: FieldName;
  text: string;
}

/**
 * The values of an axis: "0.001, 0.003", or separated by semicolons where values have commas.
 * Checked as a link's are.
 */
function valuesOf({ name, text }: Axis): { values: unknown[] } | { problem: string } {
  const parts = text.split(text.includes(';') ? ';' : ',').map((part) => part.trim());
  const texts = parts.filter((part) => part !== '');
  if (texts.length === 0)
    return { problem: `${name} has no values. List them, separated by commas.` };
  const values: unknown[] = [];
  for (const part of texts) {
    const read = readValue(name, part);
    const problem = 'problem' in read ? read.problem : checkField(name, read.value);
    if (problem) return { problem };
    const { value } = read as { value: unknown };
    if (values.includes(value)) return { problem: `${name} lists ${part} twice. List it once.` };
    values.push(value);
  }
  return { values };
}

/** The settings of each run of a grid; or what is wrong with it, one line a problem. */
export function gridOf(
  base: Config,
  axes: readonly Axis[],
): { configs: Config[] } | { problems: string[] } {
  if (new Set(axes.map(({ name }) => name)).size < axes.length)
    return { problems: ['Both fields are the same. Choose another second field.'] };
  const lists = axes.map(valuesOf);
  const problems = lists.flatMap((list) => ('problem' in list ? [list.problem] : []));
  if (problems.length > 0) return { problems };
  let configs = [base];
  for (const [i, { name }] of axes.entries()) {
    const { values } = lists[i] as { values: unknown[] };
    configs = configs.flatMap((config) => values.map((value) => ({ ...config, [name]: value })));
  }
  if (configs.length < 2) return { problems: ['That is one run. List at least two values.'] };
  if (configs.length > MOST_RUNS) {
    return {
      problems: [`These are ${configs.length} runs. A sweep has at most ${MOST_RUNS}.`],
    };
  }
  const misfits = [...new Set(configs.flatMap(checkConfig))];
  return misfits.length > 0 ? { problems: misfits } : { configs };
}

/** Values to begin with: around the field's own, all choices, or the first seeds. */
export function suggestedValues(name: FieldName, config: Config): string {
  const field = FIELDS[name];
  const value = config[name];
  if (name === 'seed') return '1, 2, 3';
  if (field.type === 'choice') return field.choices.slice(0, MOST_RUNS).join(', ');
  if (field.type === 'text') return String(value);
  const near = [Number(value) / 2, Number(value), Number(value) * 2].map((number) => {
    const inside = Math.min(field.max, Math.max(field.min, number));
    return Number((field.type === 'integer' ? Math.round(inside) : inside).toPrecision(6));
  });
  return [...new Set(near)].join(', ');
}

export function planSweep(
  configs: readonly Config[],
  fields: readonly FieldName[],
  texts?: string[],
  now = new Date(),
): Sweep {
  const runs = configs.map((config) => ({ id: newRunId(now), config: { ...config } }));
  const sweep = { id: newRunId(now), time: now.toISOString(), fields: [...fields], runs };
  return texts ? { ...sweep, texts } : sweep;
}

/** The sweep after a run of it has ended. */
export function withOutcome(sweep: Sweep, id: string, outcome: Outcome): Sweep {
  const runs = sweep.runs.map((run) => (run.id === id ? { ...run, outcome } : run));
  return { ...sweep, runs };
}

/** The sweep with what the table of runs knows more: a page can be closed as a run ends. */
export function settled(sweep: Sweep, rows: readonly RunRow[]): Sweep {
  return sweep.runs.reduce((known, { id, outcome }) => {
    const row = rows.find((other) => other.id === id);
    if (outcome || !row) return known;
    if (row.label.deleted !== undefined)
      return withOutcome(known, id, { ...outcomeOf(row), problem: 'It was deleted.' });
    return row.state === 'finished' ? withOutcome(known, id, outcomeOf(row)) : known;
  }, sweep);
}

const outcomeOf = ({
  step,
  perplexity,
  teacherPerplexity,
  kl,
  agreement,
  seconds,
}: RunRow): Outcome => ({ step, perplexity, teacherPerplexity, kl, agreement, seconds });

/** The sweep with those runs to run again that did not reach their last step. */
export function withoutFailures(sweep: Sweep): Sweep {
  const runs = sweep.runs.map(({ outcome, ...run }) =>
    outcome && outcome.problem === undefined ? { ...run, outcome } : run,
  );
  return { ...sweep, runs };
}

export const isDone = ({ runs }: Sweep): boolean => runs.every(({ outcome }) => outcome);

/**
 * What to do next in a settled sweep: the first run that has not ended. One that was cut off has a
 * `row`, from whose checkpoint it goes on; others start. Undefined when all have ended.
 */
export function nextRun(
  { runs }: Sweep,
  rows: readonly RunRow[],
): { run: SweepRun; row?: RunRow } | undefined {
  const run = runs.find(({ outcome }) => !outcome);
  if (!run) return undefined;
  const row = rows.find(({ id }) => id === run.id);
  return row?.checkpoint !== undefined && row.state === 'stopped' ? { run, row } : { run };
}
