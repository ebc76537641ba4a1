// In which settings two runs differ, as fields and in words.

import { type Config, FIELDS, type Field, type FieldName } from '../config';

export interface Difference {
  name: FieldName;
  label: string;
  before: string | number;
  after: string | number;
}

/** The settings of `after` that differ from `before`, in the table's order. */
export function differences(before: Config, after: Config): Difference[] {
  return (Object.keys(FIELDS) as FieldName[])
    .filter((name) => before[name] !== after[name])
    .map((name) => {
      const { symbol, label }: Field = FIELDS[name];
      return { name, label: symbol ?? label, before: before[name], after: after[name] };
    });
}

/** "alpha 0.7 → 0.5, Student layers 2 → 4"; "the same settings" */
export function inWords(list: readonly Difference[]): string {
  if (list.length === 0) return 'the same settings';
  const shown = (value: string | number) => (value === '' ? 'empty' : value);
  return list
    .map(({ label, before, after }) => `${label} ${shown(before)} → ${shown(after)}`)
    .join(', ');
}
