// "Which cause explains this log?": the causes to choose from, the evidence for each, and the order
// in which the logs are shown. Every number in an answer comes from the reports. Pure.

import { Random } from '../../tensor/random';
import type { Cause } from '../../worker/protocol';
import { formatMeasure, plural } from '../shared/format';
import type { Totals } from './script';
import { scriptLog, totalsOf } from './script';
import type { ColumnRun } from './store';
import { COLUMNS } from './store';

interface CauseRow {
  /** The option's text. */
  label: string;
  /** What the code does wrong. */
  description: string;
  /** The numbers that identify the cause. */
  evidence: (column: ColumnRun) => string;
}

export const CAUSES: Record<Cause, CauseRow> = {
  view: {
    label: 'The evaluation raises (view)',
    description:
      'logits[:, :-1].view(-1, V) raises in every evaluation batch, and the exception is ' +
      'swallowed. Training works.',
    evidence: (column) => {
      const totals = totalsOf(column);
      const { tried, succeeded, applied, steps, weightChange, firstLoss, lastLoss } = totals;
      return (
        `${succeeded} of ${tried} evaluation batches succeeded, while ${applied} of ` +
        `${plural(steps, 'step')} changed the weights (by ${percent(weightChange)}) and the loss ` +
        `went from ${fixed(firstLoss)} to ${fixed(lastLoss)}.`
      );
    },
  },
  skipped: {
    label: 'Every step is skipped (loss scale)',
    description:
      'The loss scale is never lowered, as if scaler.update() were missing. Every gradient ' +
      'overflows, so every step is skipped.',
    evidence: (column) => {
      const { skipped, steps } = totalsOf(column);
      const last = column.attempts.at(-1)?.record;
      return (
        `${skipped} of ${plural(steps, 'step')} skipped. The loss scale stays at ` +
        `${formatMeasure(last?.lossScale)}; the gradient norm is ${formatMeasure(last?.gradNorm)}.`
      );
    },
  },
  'half-weights': {
    label: 'The update is lost in f16 weights',
    description:
      'The weights are stored only in f16. In f16, 0.02 − 0.000005 is 0.02, so a small learning ' +
      'rate changes nothing. (f16 is finer closer to 0, but no weight here is that close.)',
    evidence: (column) => {
      const totals = totalsOf(column);
      const last = column.attempts.at(-1)?.record;
      return (
        `${appliedSteps(totals)} with a gradient norm of ${formatMeasure(last?.gradNorm)}, yet ` +
        `the weights changed by ${percent(totals.weightChange)}.`
      );
    },
  },
  detached: {
    label: 'The loss is detached',
    description:
      'The loss was cut from the graph, as .detach() or .item() would: no gradient reaches the ' +
      'weights.',
    evidence: (column) => {
      const totals = totalsOf(column);
      const last = column.attempts.at(-1)?.record;
      return (
        `The gradient norm is ${formatMeasure(last?.gradNorm)}: ${appliedSteps(totals)}, and the ` +
        `weights changed by ${percent(totals.weightChange)}.`
      );
    },
  },
};

const appliedSteps = ({ applied, steps }: Totals) =>
  `${applied} of ${plural(steps, 'step')} applied`;
const fixed = (value: number | undefined) => value?.toFixed(4) ?? 'n/a';

/** A fraction as a percentage with a measure's digits; exactly "0%" for 0. */
export function percent(fraction: number | undefined): string {
  return fraction === undefined ? 'n/a' : `${formatMeasure(100 * fraction)}%`;
}

/** The causes in an order that depends on the seed; never the order in which they ran. */
export function orderOf(seed: number): Cause[] {
  const random = new Random(seed).fork('logs');
  const order: Cause[] = [...COLUMNS.causes];
  for (let last = order.length - 1; last > 0; last--) {
    const other = random.integer(last + 1);
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order.some((cause, index) => cause !== COLUMNS.causes[index])
    ? order
    : [...order.slice(1), order[0]];
}

export const LETTERS = ['A', 'B', 'C', 'D'];

/** Groups of two or more logs that print the same lines, by their letters. */
export function identicalLogs(columns: readonly ColumnRun[]): string[][] {
  const groups = new Map<string, string[]>();
  for (const [index, column] of columns.entries()) {
    const text = scriptLog(column, true)
      .map((line) => line.text)
      .join('\n');
    groups.set(text, [...(groups.get(text) ?? []), LETTERS[index]]);
  }
  return [...groups.values()].filter((letters) => letters.length > 1);
}
