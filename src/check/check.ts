// One check: inputs, the kernels to run, and the outputs that the reference expects.

import type { Recorder, Tensor } from '../gpu/program';
import type { Numbers } from '../reference';
import type { DType } from '../tensor/dtype';
import type { Layout } from '../tensor/layout';
import type { Storage } from './tensors';

/** How far a result may be off, relative to the largest expected magnitude, and why that much. */
export interface Tolerance {
  /** 0 is exact. */
  value: number;
  reason: string;
}

export interface Input {
  /** The whole storage, which may be larger than the layout. */
  values: Numbers;
  layout: Layout | number[];
  /** f32 by default. */
  dtype?: DType;
}

interface Output<Name extends string> {
  /** The name of the input that is read back after the run. */
  tensor: Name;
  /** The elements of its storage that are compared; all by default. */
  at?: readonly number[];
  expected: Numbers;
  tolerance: Tolerance;
  /** The terms that `expected` is a sum of, if they are much larger and cancel. */
  terms?: Numbers;
}

export interface Check<Name extends string = string> {
  /** The kernel's file, and what is special about this check. */
  kernel: string;
  sizes: string;
  layout: string;
  dtype: Storage;
  inputs: Record<Name, Input>;
  record(recorder: Recorder, tensors: Record<NoInfer<Name>, Tensor>): void;
  outputs: readonly Output<NoInfer<Name>>[];
}

/** Makes the compiler hold the names in `record` and `outputs` against those of the inputs. */
export function check<Name extends string>(definition: Check<Name>): Check {
  return definition as unknown as Check;
}

/** What one rounding changes, relatively: half the distance between neighbouring f32 numbers. */
const F32_ROUNDING = 2 ** -24;
/** For f16 the full distance, because WGSL lets a conversion round either way. */
const F16_ROUNDING = 2 ** -10;

export const EXACT: Tolerance = {
  value: 0,
  reason: 'Nothing is computed: the bits are copied or left as they are.',
};

/** The tolerance of a sum of so many terms, stored as `dtype`. */
export function summed(terms: number, dtype: Storage = 'f32'): Tolerance {
  const value = 4 * terms * F32_ROUNDING;
  const reason =
    'An f32 sum of n terms rounds n times by 2^-24, and cancellation may make it 4 times smaller.';
  return stored16({ value, reason }, dtype);
}

/** A tolerance plus that of storing the result as `dtype`, which rounds it `roundings` times. */
export function stored16({ value, reason }: Tolerance, dtype: Storage, roundings = 1): Tolerance {
  if (dtype === 'f32') return { value, reason };
  const times = roundings === 1 ? 'once' : `${roundings} times`;
  return {
    value: value + roundings * F16_ROUNDING,
    reason: `${reason} In f16 it rounds ${times} more, by 2^-10.`,
  };
}
