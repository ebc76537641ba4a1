// The argument fields that the chain editor offers for an operation on a given tensor. Each field
// lists the values that are legal after the fields before it. PyTorch can still refuse a view, a
// reshape or an expand: that is the lesson.

import type { Layout } from '../../tensor/layout';
import { product } from '../../tensor/strides';
import type { Argument, Operation, OperationName } from './chain';
import { LIMITS } from './chain';

export interface Choice {
  value: Argument;
  text: string;
}

interface Field {
  label: string;
  choices: Choice[];
  /** The initial value. */
  preset: Argument;
}

export interface FilledField extends Field {
  value: Argument;
}

/** In a list of sizes, null means no size: the list ends here, or has no leading dimension. */
const NO_SIZE: Choice = { value: null, text: 'none' };

const plain = (values: readonly number[]): Choice[] =>
  values.map((value) => ({ value, text: String(value) }));
const upTo = (count: number, first = 0) =>
  Array.from({ length: Math.max(count, 0) }, (_, i) => first + i);

/** The operations that can be added to a tensor of this layout. */
export function isOffered(name: OperationName, { rank }: Layout): boolean {
  if (name === 'unsqueeze') return rank < LIMITS.dimensions;
  if (name === 'transpose' || name === 'permute') return rank > 1;
  return (
    rank > 0 || name === 'contiguous' || name === 'flatten' || name === 'view' || name === 'reshape'
  );
}

/** The operation's fields. A wanted value that is not legal is replaced by the field's preset. */
export function fill(
  name: OperationName,
  layout: Layout,
  wanted: readonly Argument[],
): FilledField[] {
  const fields: FilledField[] = [];
  for (;;) {
    const before = fields.map(({ value }) => value);
    const field = nextField(name, layout, before);
    if (!field) return fields;
    const want = wanted[fields.length];
    const legal = field.choices.some(({ value }) => value === want);
    fields.push({ ...field, value: want !== undefined && legal ? want : field.preset });
  }
}

/** The operation with the fields' values as its arguments. */
export function operationFrom(name: OperationName, fields: readonly FilledField[]): Operation {
  const values = fields.map(({ value }) => value);
  if (name !== 'slice') return { name, args: values.filter((value) => value !== null) };
  const [dim, start, stop, step] = values;
  return { name, args: step === 1 ? (stop === null ? [dim, start] : [dim, start, stop]) : values };
}

/** The inverse of operationFrom: the field values of an operation that is being changed. */
export function valuesOf({ name, args }: Operation, layout: Layout): readonly Argument[] {
  if (name === 'expand') return args.length > layout.rank ? args : [null, ...args];
  const dim = typeof args[0] === 'number' && args[0] < 0 ? args[0] + layout.rank : args[0];
  if (name === 'slice') return [dim, args[1] ?? 0, args[2] ?? null, args[3] ?? 1];
  if (name === 'view' || name === 'reshape') return [...args, null];
  if (name === 'narrow' || name === 'select') return [dim, ...args.slice(1)];
  return args;
}

function nextField(
  name: OperationName,
  layout: Layout,
  before: readonly Argument[],
): Field | undefined {
  switch (name) {
    case 'slice':
      return sliceField(layout, before);
    case 'narrow':
      return narrowField(layout, before);
    case 'select': {
      if (before.length === 0) return dimension(layout, 0);
      const indices = plain(upTo(layout.shape[before[0] as number]));
      return before.length === 1 ? { label: 'index', choices: indices, preset: 0 } : undefined;
    }
    case 'transpose':
      if (before.length === 0) return dimension(layout, layout.rank - 2, 'dim0');
      return before.length === 1 ? dimension(layout, layout.rank - 1, 'dim1') : undefined;
    case 'permute':
      return permuteField(layout, before);
    case 'expand':
      return expandField(layout, before);
    case 'squeeze':
      if (before.length > 0) return undefined;
      return {
        label: 'dim',
        choices: [{ value: null, text: 'all' }, ...plain(upTo(layout.rank))],
        preset: null,
      };
    case 'unsqueeze':
      if (before.length > 0) return undefined;
      return { label: 'dim', choices: plain(upTo(layout.rank + 1)), preset: 0 };
    case 'view':
    case 'reshape':
      return sizeField(layout, before);
    case 'flatten':
      return flattenField(layout, before);
    case 'contiguous':
      return undefined;
  }
}

function dimension({ rank }: Layout, preset: number, label = 'dim'): Field {
  return { label, choices: plain(upTo(rank)), preset: Math.max(preset, 0) };
}

/** The default dimension of a slice is time, dimension 1 of (B, T, V). */
const timeDimension = ({ rank }: Layout) => Math.min(1, rank - 1);

function sliceField(
  layout: Layout,
  [dim, start, stop, step]: readonly Argument[],
): Field | undefined {
  if (dim === undefined) return dimension(layout, timeDimension(layout));
  const size = layout.shape[dim as number];
  if (start === undefined) return { label: 'start', choices: plain(upTo(size)), preset: 0 };
  const first = start as number;
  if (stop === undefined) {
    const back = upTo(size - first - 1, first + 1 - size);
    const choices = [
      { value: null, text: 'end' },
      ...plain(back.toReversed()),
      ...plain(upTo(size - first, first + 1)),
    ];
    return { label: 'stop', choices, preset: back.includes(-1) ? -1 : null };
  }
  return step === undefined ? { label: 'step', choices: plain(upTo(4, 1)), preset: 1 } : undefined;
}

function narrowField(layout: Layout, [dim, start, length]: readonly Argument[]): Field | undefined {
  if (dim === undefined) return dimension(layout, timeDimension(layout));
  const size = layout.shape[dim as number];
  if (start === undefined) return { label: 'start', choices: plain(upTo(size)), preset: 0 };
  const rest = size - (start as number);
  return length === undefined
    ? { label: 'length', choices: plain(upTo(rest, 1)), preset: Math.max(rest - 1, 1) }
    : undefined;
}

function permuteField({ rank }: Layout, before: readonly Argument[]): Field | undefined {
  if (before.length === rank) return undefined;
  const left = upTo(rank).filter((d) => !before.includes(d));
  return { label: `dim ${before.length}`, choices: plain(left), preset: left[left.length - 1] };
}

function expandField({ shape, numel }: Layout, before: readonly Argument[]): Field | undefined {
  if (before.length > shape.length) return undefined;
  // The elements that earlier fields repeat count towards the limit.
  const repeated = before.map((size, i) =>
    size === null || size === -1 || (i > 0 && shape[i - 1] !== 1) ? 1 : size,
  );
  const room = LIMITS.elements / (numel * product(repeated));
  if (before.length === 0) {
    const sizes = shape.length < LIMITS.dimensions ? upTo(3, 2).filter((size) => size <= room) : [];
    return { label: 'leading size', choices: [NO_SIZE, ...plain(sizes)], preset: null };
  }
  const d = before.length - 1;
  const sizes = upTo(LIMITS.startSize, 1).filter((size) => shape[d] !== 1 || size <= room);
  const preset = shape[d] === 1 ? (sizes.findLast((size) => size <= 3) ?? 1) : -1;
  return { label: `size ${d}`, choices: [{ value: -1, text: '-1' }, ...plain(sizes)], preset };
}

function sizeField({ shape, numel, rank }: Layout, before: readonly Argument[]): Field | undefined {
  const at = before.length;
  if (before.includes(null) || at === LIMITS.dimensions) return undefined;
  const divisors = upTo(numel, 1).filter((size) => numel % size === 0);
  const choices = [
    ...(at > 0 ? [NO_SIZE] : []),
    ...(before.includes(-1) ? [] : [{ value: -1, text: '-1' }]),
    ...plain(divisors),
  ];
  const last = rank > 1 ? shape[rank - 1] : null;
  return { label: `size ${at}`, choices, preset: at === 0 ? -1 : at === 1 ? last : null };
}

function flattenField({ rank }: Layout, [start, end]: readonly Argument[]): Field | undefined {
  if (rank === 0) return undefined;
  if (start === undefined) return { label: 'start_dim', choices: plain(upTo(rank)), preset: 0 };
  if (end !== undefined) return undefined;
  const last = upTo(rank - (start as number), start as number);
  return { label: 'end_dim', choices: plain(last), preset: rank - 1 };
}
