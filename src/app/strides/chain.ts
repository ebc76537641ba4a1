// A chain: a small tensor and the operations done to it, carried out on the project's own Layout.
// Pure; no text, no page. Storages hold numbers here (an arange), so that a copy really moves
// elements and a wrong view shows wrong numbers.

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

/** The type that the lab's sums of bytes assume: a tensor of logits as it is mostly kept. */
export const DTYPE = { name: 'f16', bytes: 2 };

/** null is an open end of a slice. */
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
  /** Fewest and most arguments. */
  takes: readonly [number, number];
  apply(layout: Layout, args: Sizes): Layout | Relayout;
  /**
   * True if a refusal of PyTorch's is a state of the lab, to be looked at; else the arguments are
   * simply wrong.
   */
  mayFail?: true;
}

const ANY_RANK = [1, LIMITS.dimensions] as const;

const RULES = {
  slice: {
    takes: [1, 4],
    apply: (x, [dim, start, stop, step]) => x.slice(dim, start, stop, step ?? 1),
  },
  transpose: { takes: [2, 2], apply: (x, [a, b]) => x.transpose(a, b) },
  permute: { takes: ANY_RANK, apply: (x, order) => x.permute(order) },
  narrow: { takes: [3, 3], apply: (x, [dim, start, length]) => x.narrow(dim, start, length) },
  select: { takes: [2, 2], apply: (x, [dim, index]) => x.select(dim, index) },
  expand: { takes: ANY_RANK, apply: (x, sizes) => x.expand(sizes), mayFail: true },
  squeeze: { takes: [0, 1], apply: (x, [dim]) => x.squeeze(dim) },
  unsqueeze: { takes: [1, 1], apply: (x, [dim]) => x.unsqueeze(dim) },
  view: { takes: ANY_RANK, apply: (x, sizes) => x.view(sizes), mayFail: true },
  reshape: { takes: ANY_RANK, apply: (x, sizes) => x.reshape(sizes), mayFail: true },
  flatten: { takes: [0, 2], apply: (x, [start, end]) => x.flatten(start, end) },
  contiguous: { takes: [0, 0], apply: (x) => x.contiguous() },
} satisfies Record<string, Rule>;

export type OperationName = keyof typeof RULES;
export const OPERATIONS = Object.keys(RULES) as OperationName[];

export function isOperationName(name: string): name is OperationName {
  return Object.hasOwn(RULES, name);
}

/** Fewest and most arguments of an operation. */
export const takes = (name: OperationName): readonly [number, number] => RULES[name].takes;

export interface Storage {
  /**
   * What each cell holds: the number that the arange of the start put there, carried along by
   * copies.
   */
  readonly values: Sizes;
  /** For a copy: the cell of the storage before that each cell was read from. */
  readonly from?: Sizes;
  /** 0 for the start's storage, one more after each copy. */
  readonly generation: number;
}

/**
 * How things stand after one line. A failed operation leaves the layout and the storage that it
 * met.
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

/** Why a chain is no state of the lab; the message is for people to read. */
export class ChainProblem extends Error {
  override name = 'ChainProblem';
}

/**
 * The start and the stage after each operation. @throws ChainProblem where the lab cannot show the
 * chain.
 */
export function run({ shape, operations }: Chain): Stage[] {
  checkStart(shape);
  if (operations.length > LIMITS.operations) {
    throw new ChainProblem(
      `${operations.length} operations are too many. The lab takes up to ${LIMITS.operations}.`,
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
        `Operation ${i}, ${callOf(operations[i - 1])}, fails. Nothing can follow it.`,
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
    `The lab cannot start from sizes ${shape.join(',')}. ` +
      `It takes 1 to ${startDimensions} sizes from 1 to ${startSize}, and ${elements} elements in all.`,
  );
}

function advance(before: Stage, operation: Operation, where: string): Stage {
  const { layout, storage } = before;
  const rule: Rule = RULES[operation.name];
  const line = lineOf(operation, layout);
  let answer: Layout | Relayout;
  try {
    if (operation.name === 'expand' && operation.args.length < layout.rank) {
      throw new ChainProblem(
        `${where}: expand takes at least one size a dimension, ${layout.rank} here.`,
      );
    }
    answer = rule.apply(layout, operation.args as Sizes);
  } catch (error) {
    if (!(error instanceof LayoutError)) throw error;
    if (!rule.mayFail) throw new ChainProblem(`${where}: ${error.reason}`);
    return { ...before, operation, line, copied: false, failure: error };
  }
  const { layout: next, copied } =
    answer instanceof Layout ? { layout: answer, copied: false } : answer;
  if (next.numel < 1 || next.numel > LIMITS.elements || next.rank > LIMITS.dimensions) {
    throw new ChainProblem(
      `${where}: gives sizes [${next.shape.join(', ')}]. ` +
        `The lab draws 1 to ${LIMITS.elements} elements in up to ${LIMITS.dimensions} dimensions.`,
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

/** As in the link, e.g. `view(-1,6)`. */
export function callOf({ name, args }: Operation): string {
  return `${name}(${args.map((arg) => arg ?? '').join(',')})`;
}

/** The PyTorch line of an operation on a tensor of this layout. */
export function lineOf({ name, args }: Operation, layout: Layout): string {
  if (name !== 'slice') return `x = x.${name}(${args.join(', ')})`;
  const [dim, start, stop, step] = args as [number, Argument?, Argument?, Argument?];
  const before = Math.max(dim < 0 ? dim + layout.rank : dim, 0);
  // A wrong dimension is refused when it is applied; here it only must not make a line of any
  // length.
  const colons = Array.from({ length: Math.min(before, LIMITS.dimensions) }, () => ':, ').join('');
  return `x = x[${colons}${start || ''}:${stop ?? ''}${step && step !== 1 ? `:${step}` : ''}]`;
}

/** What the last line of a chain came to. */
export type Outcome = 'contiguous' | 'strided' | 'copies' | 'refused';

export function outcomeOf({ failure, copied, layout }: Stage): Outcome {
  if (failure) return 'refused';
  if (copied) return 'copies';
  return layout.isContiguous ? 'contiguous' : 'strided';
}
