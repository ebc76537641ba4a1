// The round values that a slider stops at. The field's text box takes any value between them.

import type { Field } from '../../config';

const MANTISSAS = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
const LINEAR_STOPS = 20;

/** Rising values from the field's minimum to its maximum, with its default. */
export function ladder(field: Extract<Field, { min: number }>): number[] {
  const { min, max } = field;
  const values = new Set([min, field.default, max]);
  if (field.scale === 'log') {
    for (let power = Math.floor(Math.log10(min)); power <= Math.log10(max); power++) {
      for (const mantissa of MANTISSAS) values.add(Number((mantissa * 10 ** power).toPrecision(3)));
    }
  } else {
    for (let stop = 0; stop <= LINEAR_STOPS; stop++)
      values.add(Number((min + ((max - min) * stop) / LINEAR_STOPS).toPrecision(6)));
  }
  const allowed = (value: number) =>
    value >= min && value <= max && (field.type === 'number' || Number.isInteger(value));
  return [...values].filter(allowed).sort((a, b) => a - b);
}

/** The stop nearest to a value, by ratio where the field moves logarithmically. */
export function nearestStop(stops: readonly number[], value: number, scale?: 'log'): number {
  const distance = (stop: number) =>
    Math.abs(scale === 'log' ? Math.log(stop / value) : stop - value);
  return stops.reduce(
    (best, stop, index) => (distance(stop) < distance(stops[best]) ? index : best),
    0,
  );
}
