// float16 by its definition: 1 sign bit, 5 bits of exponent, 10 of mantissa.

const LARGEST = 65504;
/** Exponent of the smallest normal number; below it, numbers are multiples of 2^-24. */
const LOWEST_EXPONENT = -14;

/** 2^e ≤ |x| < 2^(e + 1), but no less than the exponent of subnormal numbers. */
const exponentOf = (x: number) => Math.max(Math.floor(Math.log2(Math.abs(x))), LOWEST_EXPONENT);

/** The float16 nearest to x, ties to even. Infinite from 65520. */
export function roundToHalf(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const unit = 2 ** (exponentOf(x) - 10);
  const steps = Math.abs(x) / unit;
  const below = Math.floor(steps);
  const up = steps - below > 0.5 || (steps - below === 0.5 && below % 2 === 1);
  const rounded = (below + Number(up)) * unit;
  return Math.sign(x) * (rounded > LARGEST ? Number.POSITIVE_INFINITY : rounded);
}

/** The 16 bits of a number that is a float16, as an integer. Not for NaN. */
export function halfBits(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const size = Math.abs(x);
  if (size === Number.POSITIVE_INFINITY) return sign + 0x7c00;
  if (size < 2 ** LOWEST_EXPONENT) return sign + size * 2 ** 24;
  const exponent = exponentOf(x);
  return sign + (exponent + 15) * 1024 + (size / 2 ** exponent - 1) * 1024;
}
