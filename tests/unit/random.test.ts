// The seeded random generator, against its published definition and by statistics; and float16 on
// the CPU.

import { describe, expect, test } from 'vitest';
import { fromHalf, roundToHalf, toHalf } from '../../src/tensor/dtype';
import { Random, xoshiro128 } from '../../src/tensor/random';

const take = (n: number, next: () => number) => Array.from({ length: n }, next);
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;

/** Pearson's correlation of two equally long lists. */
function correlation(a: number[], b: number[]): number {
  const [ma, mb] = [mean(a), mean(b)];
  const covariance = mean(a.map((x, i) => (x - ma) * (b[i] - mb)));
  return (
    covariance / Math.sqrt(mean(a.map((x) => (x - ma) ** 2)) * mean(b.map((x) => (x - mb) ** 2)))
  );
}

test('xoshiro128 follows its definition in exact integers', () => {
  const mask = 0xffffffffn;
  const rotate = (x: bigint, k: bigint) => ((x << k) | (x >> (32n - k))) & mask;
  const exact = [1n, 2n, 3n, 4n];
  const state = Uint32Array.from(exact, Number);
  for (let i = 0; i < 1000; i++) {
    const expected = (rotate((exact[1] * 5n) & mask, 7n) * 9n) & mask;
    const t = (exact[1] << 9n) & mask;
    exact[2] ^= exact[0];
    exact[3] ^= exact[1];
    exact[1] ^= exact[2];
    exact[0] ^= exact[3];
    exact[2] ^= t;
    exact[3] = rotate(exact[3], 11n);
    expect(xoshiro128(state)).toBe(Number(expected));
  }
});

test('the same seed gives the same numbers, and another seed different ones', () => {
  const numbers = (seed: number) => {
    const random = new Random(seed);
    return [
      ...take(50, () => random.uniform()),
      ...take(50, () => random.normal()),
      ...take(50, () => random.integer(9)),
    ];
  };
  expect(numbers(7)).toEqual(numbers(7));
  expect(numbers(7)).not.toEqual(numbers(8));
});

describe('fork', () => {
  test('does not depend on what was drawn before, and draws nothing itself', () => {
    const used = new Random(1);
    const fresh = new Random(1);
    take(100, () => used.uniform());
    const a = used.fork('validation');
    const b = fresh.fork('validation');
    expect(take(50, () => a.uniform())).toEqual(take(50, () => b.uniform()));
    const untouched = new Random(1);
    expect(take(50, () => fresh.uniform())).toEqual(take(50, () => untouched.uniform()));
  });

  test('gives streams that do not correlate with each other or with their parent', () => {
    const n = 20_000;
    const random = new Random(1);
    const related = [
      random,
      random.fork('a'),
      random.fork('b'),
      random.fork(''),
      random.fork('a').fork('a'),
      new Random(2),
    ];
    const streams = related.map((stream) => take(n, () => stream.uniform()));
    for (const [i, a] of streams.entries()) {
      for (const b of streams.slice(i + 1))
        expect(Math.abs(correlation(a, b))).toBeLessThan(5 / Math.sqrt(n));
    }
  });

  test('of a fork differs from a fork with a longer name', () => {
    const random = new Random(1);
    const paths = [
      random.fork('a').fork('b'),
      random.fork('a/b'),
      random.fork('a"/"b'),
      random.fork('ab'),
    ];
    expect(new Set(paths.map((stream) => stream.uniform())).size).toBe(paths.length);
  });
});

test('a thousand neighbouring seeds start with a thousand different, uniform numbers', () => {
  const first = Array.from({ length: 1000 }, (_, seed) => new Random(seed).uniform());
  expect(new Set(first).size).toBe(1000);
  // Five standard errors of a mean of 1000 uniform numbers.
  expect(Math.abs(mean(first) - 0.5)).toBeLessThan(5 * Math.sqrt(1 / 12 / 1000));
});

test('uniform fills [0, 1) evenly', () => {
  const random = new Random(3);
  const counts = new Array<number>(100).fill(0);
  const n = 100_000;
  for (let i = 0; i < n; i++) counts[Math.floor(random.uniform() * 100)]++;
  const chiSquared = counts.reduce((sum, count) => sum + (count - n / 100) ** 2 / (n / 100), 0);
  // 99 degrees of freedom: mean 99, standard deviation 14. Too even would be wrong as well.
  expect(Math.abs(chiSquared - 99)).toBeLessThan(5 * Math.sqrt(2 * 99));
});

test('normal has the moments and the tails of a standard normal', () => {
  const random = new Random(4);
  const n = 200_000;
  const values = take(n, () => random.normal());
  const expectNear = (actual: number, expected: number, deviation: number) =>
    expect(Math.abs(actual - expected)).toBeLessThan((5 * deviation) / Math.sqrt(n));
  expectNear(mean(values), 0, 1);
  expectNear(mean(values.map((x) => x ** 2)), 1, Math.sqrt(2));
  expectNear(mean(values.map((x) => x ** 3)), 0, Math.sqrt(15));
  expectNear(mean(values.map((x) => x ** 4)), 3, Math.sqrt(96));
  expectNear(
    mean(values.map((x) => (Math.abs(x) > 1.959964 ? 1 : 0))),
    0.05,
    Math.sqrt(0.05 * 0.95),
  );
  expect(Math.abs(correlation(values.slice(1), values.slice(0, -1)))).toBeLessThan(
    5 / Math.sqrt(n),
  );
});

test('integer is uniform over its range, even if the range does not divide 2³²', () => {
  const random = new Random(5);
  const n = 90_000;
  // A plain remainder would give the lowest third of this range twice as often as the others.
  const range = 3 * 2 ** 30;
  const thirds = [0, 0, 0];
  for (let i = 0; i < n; i++) thirds[Math.floor(random.integer(range) / 2 ** 30)]++;
  for (const count of thirds)
    expect(Math.abs(count - n / 3)).toBeLessThan(5 * Math.sqrt((n * 2) / 9));
  expect(new Set(take(200, () => random.integer(3)))).toEqual(new Set([0, 1, 2]));
  expect(random.integer(1)).toBe(0);
});

test('an invalid seed or range is an error', () => {
  expect(() => new Random(0.5)).toThrow('the seed 0.5 is not a whole number');
  for (const n of [0, -1, 1.5, 2 ** 33, Number.NaN])
    expect(() => new Random(1).integer(n)).toThrow(`n is ${n}.`);
});

describe('float16', () => {
  /** The value of float16 bits by the format's definition. */
  const value = (half: number) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
  };

  test('all 65,536 are read as the format defines them, and written back to the same bits', () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = fromHalf(halves);
    const expected = Float32Array.from(halves, value);
    for (let i = 0; i < 65536; i++) {
      if (!Object.is(values[i], expected[i]))
        throw new Error(`${i}: ${values[i]} is not ${expected[i]}`);
    }
    const back = toHalf(values);
    for (let i = 0; i < 65536; i++) {
      if (Number.isNaN(values[i])) expect(value(back[i])).toBeNaN();
      else if (back[i] !== i) throw new Error(`${i} came back as ${back[i]}`);
    }
  });

  test('rounds to the nearer neighbour, and on a tie to the even one', () => {
    const single = new Float32Array(3);
    const bits = new Uint32Array(single.buffer);
    for (let half = 0; half < 0x7c00; half++) {
      const low = value(half);
      // After the largest comes 65536, if it existed; from half way there the result is infinity.
      const high = half === 0x7bff ? 65536 : value(half + 1);
      single[1] = (low + high) / 2;
      bits[0] = bits[1] - 1;
      bits[2] = bits[1] + 1;
      const even = half % 2 === 0 ? half : half + 1;
      const rounded = toHalf(single);
      if (rounded[0] !== half || rounded[1] !== even || rounded[2] !== half + 1) {
        throw new Error(`around ${single[1]}: ${rounded} is not ${half}, ${even}, ${half + 1}`);
      }
      single[1] = -single[1];
      if (toHalf(single)[1] !== even + 0x8000)
        throw new Error(`${single[1]} is not rounded as its positive`);
    }
  });

  test('infinities, NaN, and numbers outside the range of float16', () => {
    const nan = new Float32Array(Uint32Array.of(0x7f800001, 0xffc00000).buffer);
    expect([...fromHalf(toHalf(nan))]).toEqual([Number.NaN, Number.NaN]);
    const odd = [
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      3.4e38,
      -65520,
      2 ** -149,
      2 ** -25,
      -0,
    ];
    expect([...fromHalf(toHalf(Float32Array.from(odd)))]).toEqual([
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      0,
      0,
      -0,
    ]);
    expect(roundToHalf(0.1)).toBe(0.0999755859375);
    expect(roundToHalf(1e6)).toBe(Number.POSITIVE_INFINITY);
  });

  test('converts only the view, not the buffer that it is part of', () => {
    const values = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
    expect([...toHalf(values)]).toEqual([0x3c00, 0x4000]);
    expect([...fromHalf(Uint16Array.of(9, 0x3c00).subarray(1))]).toEqual([1]);
  });
});
