// A chain: a small tensor and a list of operations on it, run on the engine's own Layout. The
// storage holds numbers (an arange), so a copy really moves elements and a wrong view shows wrong
// numbers. Pure: no parsing, no page.

import type { Relayout } from '../../tensor/layout';
import { Layout, LayoutError } from '../../tensor/layout';
import type { Sizes } from '../../tensor/strides';

/** What the lab can draw legibly. */
export const LIMITS = {
  startDimensions: 4,
  dimensions: 5,
  startSize: 8,
  elements: 96,
  operations: 8,
};

/** The element type for byte counts: logits are usually f16. */
export const DTYPE = { name: 'f16', bytes: 2 };

/** null: an omitted start, stop or step of a slice. */
export type Argument = number | null;

export interface Operation {
  readonly name: OperationName;
  readonly args: readonly Argument[];
}

export interface Chain {
  readonly shape: Sizes;
  readonly operations: readonly Operation[];
}

interface Rule {
  /** The fewest and the most arguments. */
  arity: readonly [number, number];
  apply(layout: Layout, args: Sizes): Layout | Relayout;
  /** The lab shows a refusal by PyTorch. Without this flag a refusal makes the chain invalid. */
  mayFail?: true;
}

const ANY_RANK = [1, LIMITS.dimensions] as const;

const RULES = {
  slice: {
    arity: [1, 4],
    apply: (x, [dim, start, stop, step]) => x.slice(dim, start, stop, step ?? 1),
  },
  transpose: { arity: [2, 2], apply: (x, [a, b]) => x.transpose(a, b) },
  permute: { arity: ANY_RANK, apply: (x, order) => x.permute(order) },
  narrow: { arity: [3, 3], apply: (x, [dim, start, length]) => x.narrow(dim, start, length) },
  select: { arity: [2, 2], apply: (x, [dim, index]) => x.select(dim, index) },
  expand: { arity: ANY_RANK, apply: (x, sizes) => x.expand(sizes), mayFail: true },
  squeeze: { arity: [0, 1], apply: (x, [dim]) => x.squeeze(dim) },
  unsqueeze: { arity: [1, 1], apply: (x, [dim]) => x.unsqueeze(dim) },
  view: { arity: ANY_RANK, apply: (x, sizes) => x.view(sizes), mayFail: true },
  reshape: { arity: ANY_RANK, apply: (x, sizes) => x.reshape(sizes), mayFail: true },
  flatten: { arity: [0, 2], apply: (x, [start, end]) => x.flatten(start, end) },
  contiguous: { arity: [0, 0], apply: (x) => x.contiguous() },
} satisfies Record<string, Rule>;

export type OperationName = keyof typeof RULES;
export const OPERATIONS = Object.keys(RULES) as OperationName[];

export function isOperationName(name: string): name is OperationName {
  return Object.hasOwn(RULES, name);
}

/** The fewest and the most arguments of an operation. */
export const arityOf = (name: OperationName): readonly [number, number] => RULES[name].arity;

export interface Storage {
  /** The number in each cell: the initial arange, moved by copies. */
  readonly values: Sizes;
  /** After a copy: for each cell, the cell of the previous storage that it was copied from. */
  readonly from?: Sizes;
  /** How many copies led to this storage; 0 for the initial one. */
  readonly generation: number;
}

/**
 * The state after one line. After a failed operation, layout and storage are the ones it was called
 * on.
 */
export interface Stage {
  readonly operation?: Operation;
  /** The PyTorch line, e.g. `x = x[:, :-1]`. */
  readonly line: string;
  readonly layout: Layout;
  readonly storage: Storage;
  readonly copied: boolean;
  readonly failure?: LayoutError;
}

/** The lab cannot show a chain. The message goes to the user. */
export class ChainProblem extends Error {
  override name = 'ChainProblem';
}

/**
 * The initial stage, then one after each operation. @throws ChainProblem if the lab cannot show the
 * chain.
 */
export function run({ shape, operations }: Chain): Stage[] {
  checkStart(shape);
  if (operations.length > LIMITS.operations) {
    throw new ChainProblem(
      `The chain has ${operations.length} operations; the lab takes up to ${LIMITS.operations}.`,
    );
  }
  const layout = Layout.contiguous(shape);
  const values = Array.from({ length: layout.numel }, (_, i) => i);
  const line = `x = torch.arange(${layout.numel}.).half().view(${shape.join(', ')})`;
  const stages: Stage[] = [{ line, layout, storage: { values, generation: 0 }, copied: false }];
  for (const [i, operation] of operations.entries()) {
    const before = stages[i];
    if (before.failure) {
      throw new ChainProblem(
        `Operation ${i}, ${callOf(operations[i - 1])}, fails, so nothing can follow it.`,
      );
    }
    stages.push(advance(before, operation, `Operation ${i + 1}, ${callOf(operation)}`));
  }
  return stages;
}

function checkStart(shape: Sizes): void {
  const { startDimensions, startSize, elements } = LIMITS;
  const fits = shape.every((size) => Number.isInteger(size) && size >= 1 && size <= startSize);
  const count = shape.reduce((a, b) => a * b, 1);
  if (fits && shape.length >= 1 && shape.length <= startDimensions && count <= elements) return;
  throw new ChainProblem(
    `The lab cannot start from shape ${bracketed(shape)}. It takes 1 to ${startDimensions} ` +
      `dimensions of size 1 to ${startSize}, and at most ${elements} elements.`,
  );
}

function advance(before: Stage, operation: Operation, where: string): Stage {
  const { layout, storage } = before;
  const rule: Rule = RULES[operation.name];
  const line = lineOf(operation, layout);
  let result: Layout | Relayout;
  try {
    if (operation.name === 'expand' && operation.args.length < layout.rank) {
      throw new ChainProblem(
        `${where}: expand needs a size for each dimension, at least ${layout.rank} here.`,
      );
    }
    result = rule.apply(layout, operation.args as Sizes);
  } catch (error) {
    if (!(error instanceof LayoutError)) throw error;
    if (!rule.mayFail) throw new ChainProblem(`${where}: ${error.reason}`);
    return { ...before, operation, line, copied: false, failure: error };
  }
  const { layout: next, copied } =
    result instanceof Layout ? { layout: result, copied: false } : result;
  if (next.numel < 1 || next.numel > LIMITS.elements || next.rank > LIMITS.dimensions) {
    throw new ChainProblem(
      `${where}: the result has shape ${bracketed(next.shape)}. The lab can draw ` +
        `1 to ${LIMITS.elements} elements in up to ${LIMITS.dimensions} dimensions.`,
    );
  }
  return {
    operation,
    line,
    layout: next,
    copied,
    storage: copied ? copyOf(storage, layout) : storage,
  };
}

function copyOf(storage: Storage, layout: Layout): Storage {
  const from = [...layout.addresses()];
  return {
    values: from.map((address) => storage.values[address]),
    from,
    generation: storage.generation + 1,
  };
}

/** Sizes or strides as PyTorch prints them, e.g. `[2, 3]`. */
export const bracketed = (numbers: readonly number[]) => `[${numbers.join(', ')}]`;

/** An operation as the link spells it, e.g. `view(-1,6)`. */
export function callOf({ name, args }: Operation): string {
  return `${name}(${args.map((arg) => arg ?? '').join(',')})`;
}

/** The PyTorch line of an operation on a tensor of this layout. */
export function lineOf({ name, args }: Operation, layout: Layout): string {
  if (name !== 'slice') return `x = x.${name}(${args.join(', ')})`;
  const [dim, start, stop, step] = args as [number, Argument?, Argument?, Argument?];
  const before = Math.max(dim < 0 ? dim + layout.rank : dim, 0);
  // A wrong dimension is refused later, by apply. Here it must not produce an endless line.
  const colons = Array.from({ length: Math.min(before, LIMITS.dimensions) }, () => ':, ').join('');
  return `x = x[${colons}${start || ''}:${stop ?? ''}${step && step !== 1 ? `:${step}` : ''}]`;
}

/** The outcome of an operation. */
export type Outcome = 'contiguous' | 'strided' | 'copies' | 'refused';

export function outcomeOf({ failure, copied, layout }: Stage): Outcome {
  if (failure) return 'refused';
  if (copied) return 'copies';
  return layout.isContiguous ? 'contiguous' : 'strided';
}
