// "Which cause explains this log?": the order in which the logs are laid out, the causes to choose
// from, and the number that gives each away. Every figure in an answer is read from the reports.
// Pure.

import { Random } from '../../tensor/random';
import type { Cause } from '../../worker/protocol';
import { formatMeasure, plural } from '../shared/format';
import { scriptLog, totalsOf } from './script';
import type { ColumnRun } from './store';
import { COLUMNS } from './store';

interface CauseRow {
  /** In the list to choose from. */
  label: string;
  /** What the code does wrong. */
  means: string;
  /** Which number gives it away. */
  why: (column: ColumnRun) => string;
}

export const CAUSES: Record<Cause, CauseRow> = {
  view: {
    label: 'The evaluation raises (view)',
    means:
      'logits[:, :-1].view(-1, V) raises in every evaluation batch, and the exception is swallowed. Training is sound.',
    why: (column) => {
      const { tried, succeeded, applied, steps, weightChange, firstLoss, lastLoss } =
        totalsOf(column);
      return (
        `${succeeded} of ${tried} evaluation batches succeeded, while ${applied} of ${plural(steps, 'step')} changed the weights ` +
        `(by ${percent(weightChange)}) and the loss went from ${fixed(firstLoss)} to ${fixed(lastLoss)}.`
      );
    },
  },
  skipped: {
    label: 'Every step is skipped (loss scale)',
    means:
      'The loss scale is never lowered, as if scaler.update() were forgotten: each gradient overflows, each step is skipped.',
    why: (column) => {
      const { skipped, steps } = totalsOf(column);
      const last = column.attempts.at(-1)?.record;
      return `${skipped} of ${plural(steps, 'step')} skipped, at a loss scale of ${formatMeasure(last?.lossScale)} that never falls; gradient norm ${formatMeasure(last?.gradNorm)}.`;
    },
  },
  'half-weights': {
    label: 'The update is lost in f16 weights',
    means:
      'The weights are kept in f16 alone. 0.02 − 0.000005 is 0.02 in f16, so a small learning rate changes nothing. (f16 is finer nearer to 0; none of these weights is.)',
    why: (column) => {
      const { applied, steps, weightChange } = totalsOf(column);
      const last = column.attempts.at(-1)?.record;
      return `${applied} of ${plural(steps, 'step')} applied with a gradient norm of ${formatMeasure(last?.gradNorm)}, and yet the weights changed by ${percent(weightChange)}.`;
    },
  },
  detached: {
    label: 'The loss is not connected',
    means:
      'The loss was cut from the graph, as .detach() or .item() does: no gradient reaches the weights.',
    why: (column) => {
      const { applied, steps, weightChange } = totalsOf(column);
      const last = column.attempts.at(-1)?.record;
      return `The gradient norm is ${formatMeasure(last?.gradNorm)}: ${applied} of ${plural(steps, 'step')} applied, and the weights changed by ${percent(weightChange)}.`;
    },
  },
};

const fixed = (value: number | undefined) => value?.toFixed(4) ?? 'n/a';

/** A change of weights as a percentage, exact where it is 0. */
export function percent(share: number | undefined): string {
  return share === undefined ? 'n/a' : `${formatMeasure(100 * share)}%`;
}

/** The causes as a seed lays them out; never in the order in which they ran. */
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

/** The logs that print the same lines, by their letters; each group has two or more. */
export function alike(columns: readonly ColumnRun[]): string[][] {
  const groups = new Map<string, string[]>();
  for (const [index, column] of columns.entries()) {
    const text = scriptLog(column, true)
      .map((line) => line.text)
      .join('\n');
    groups.set(text, [...(groups.get(text) ?? []), LETTERS[index]]);
  }
  return [...groups.values()].filter((letters) => letters.length > 1);
}
