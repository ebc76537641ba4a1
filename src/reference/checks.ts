// What tests and checks need: input numbers, finite differences, and the distance between two
// arrays.

import { expectLength, type Numbers, norm } from './arrays';

/** Irregular numbers in ±`size`, the same for the same `salt`. */
export function numbers(length: number, salt: number, size = 1): Float64Array {
  return Float64Array.from(
    { length },
    (_, i) => size * Math.sin((i + 1) * 12.9898 + salt * 78.233) * Math.cos(i * i + salt),
  );
}

/**
 * d f / d x by central differences, for a scalar f that reads x. Restores x. The error is about
 * 1e-9 for values near 1.
 */
export function finiteDifferences(x: Float64Array, f: () => number, epsilon = 1e-5): Float64Array {
  return x.map((value, i) => {
    x[i] = value + epsilon;
    const above = f();
    x[i] = value - epsilon;
    const below = f();
    x[i] = value;
    return (above - below) / (2 * epsilon);
  });
}

/** ‖actual − expected‖ / ‖expected‖; 0 if both are all zeros, NaN if either holds a NaN. */
export function relativeError(actual: Numbers, expected: Numbers): number {
  expectLength('relativeError', 'actual', actual, expected.length);
  const difference = norm(Float64Array.from(expected, (value, i) => actual[i] - value));
  return difference === 0 ? 0 : difference / norm(expected);
}

/** The largest |actual − expected|; NaN if either holds a NaN. */
export function maxAbsError(actual: Numbers, expected: Numbers): number {
  expectLength('maxAbsError', 'actual', actual, expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++)
    worst = Math.max(worst, Math.abs(actual[i] - expected[i]));
  return worst;
}
