// What tests compare with: numbers to feed in, finite differences, and how far two arrays are
// apart.

import { expectLength, type Numbers, norm } from './arrays';

/** Smooth, irregular numbers around 0; the same for the same `salt`. */
export function numbers(length: number, salt: number, size = 1): Float64Array {
  return Float64Array.from(
    { length },
    (_, i) => size * Math.sin((i + 1) * 12.9898 + salt * 78.233) * Math.cos(i * i + salt),
  );
}

/**
 * d f / d x by central differences of a scalar f that reads x; x is restored. Good to about 1e-9
 * for values near 1.
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

/**
 * ‖actual − expected‖ / ‖expected‖; 0 where both are all zero, NaN as soon as either holds a NaN.
 */
export function relativeError(actual: Numbers, expected: Numbers): number {
  expectLength('relativeError', 'actual', actual, expected.length);
  const difference = norm(Float64Array.from(expected, (value, i) => actual[i] - value));
  return difference === 0 ? 0 : difference / norm(expected);
}

/** The largest |actual − expected|; NaN as soon as either holds a NaN. */
export function maxAbsError(actual: Numbers, expected: Numbers): number {
  expectLength('maxAbsError', 'actual', actual, expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++)
    worst = Math.max(worst, Math.abs(actual[i] - expected[i]));
  return worst;
}
