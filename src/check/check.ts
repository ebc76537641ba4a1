// What one check is: numbers in, kernels to run, and what the slow twin says must come out.
//
// The twin is tests/reference.ts, the one thing outside src/ that this room imports: tests and
// visitors hold the kernels against the same slow truth, and a second copy of it could differ.

import type { Recorder, Tensor } from '../gpu/program';
import type { Numbers } from '../reference';
import type { DType } from '../tensor/dtype';
import type { Layout } from '../tensor/layout';
import type { Storage } from './tensors';

/**
 * How far a result may be from the truth, relative to the largest expected magnitude, and why that
 * far. 0 is exact.
 */
export interface Tolerance {
  value: number;
  reason: string;
}

interface Input {
  /** The whole storage. */
  values: Numbers;
  layout: Layout | number[];
  /** f32 by default. */
  dtype?: DType;
}

interface Output<Name extends string> {
  /** The input whose storage is read back after the run. */
  tensor: Name;
  /** Elements of that storage to compare; all by default. */
  at?: readonly number[];
  expected: Numbers;
  tolerance: Tolerance;
  /** The terms that `expected` are sums of, where cancellation makes them much larger than it. */
  terms?: Numbers;
}

export interface Check<Name extends string = string> {
  kernel: string;
  sizes: string;
  layout: string;
  dtype: Storage;
  inputs: Record<Name, Input>;
  record(recorder: Recorder, tensors: Record<NoInfer<Name>, Tensor>): void;
  outputs: readonly Output<NoInfer<Name>>[];
}

/** Ties the names that `record` and `outputs` use to those of the inputs. */
export function check<Name extends string>(given: Check<Name>): Check {
  return given as unknown as Check;
}

/**
 * Half of the distance between neighbouring f32 numbers, relative to them: what one rounding
 * changes.
 */
const F32_ROUNDING = 2 ** -24;
/** A whole distance for f16: WGSL lets a conversion round either way. */
const F16_ROUNDING = 2 ** -10;

export const EXACT: Tolerance = {
  value: 0,
  reason: 'Nothing is computed: the bits are copied or left alone.',
};

/** Of a sum of `terms` that is stored as `dtype`. */
export function summed(terms: number, dtype: Storage = 'f32'): Tolerance {
  const value = 4 * terms * F32_ROUNDING;
  const reason =
    'An f32 sum of n terms rounds n times by 2^-24, and cancellation may leave it 4 times smaller.';
  return stored16({ value, reason }, dtype);
}

/** The tolerance of a result that is stored as `dtype`, of which it then takes `roundings`. */
export function stored16({ value, reason }: Tolerance, dtype: Storage, roundings = 1): Tolerance {
  if (dtype === 'f32') return { value, reason };
  const times = roundings === 1 ? 'once' : `${roundings} times`;
  return {
    value: value + roundings * F16_ROUNDING,
    reason: `${reason} In f16 it rounds ${times} more, by 2^-10.`,
  };
}
