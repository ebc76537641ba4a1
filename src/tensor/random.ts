// Seeded random numbers: the same seed gives the same numbers, on every machine. Not for secrets.
// The generator is Blackman and Vigna's xoshiro128**, with its state hashed from the seed and the
// names of the forks.

/**
 * One step of xoshiro128**: the next 32 bits, 0 to 2³² − 1. Changes `state`, four words that are
 * not all 0.
 */
export function xoshiro128(state: Uint32Array): number {
  const bits = Math.imul(rotated(Math.imul(state[1], 5), 7), 9) >>> 0;
  const shifted = state[1] << 9;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = rotated(state[3], 11);
  return bits;
}

const rotated = (word: number, by: number) => (word << by) | (word >>> (32 - by));

/**
 * Every bit of the result depends on every bit of `word`. A bijection: the finaliser of
 * MurmurHash3.
 */
function mixed(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Four words from a text. Each takes in every character and, so that they differ, its own number.
 */
function hashed(text: string): Uint32Array {
  const state = Uint32Array.of(1, 2, 3, 4);
  for (let i = 0; i < text.length; i++) {
    for (let lane = 0; lane < 4; lane++) {
      state[lane] = mixed(
        Math.imul(state[lane], 0x9e3779b1) + text.charCodeAt(i) + state[(lane + 1) % 4],
      );
    }
  }
  // xoshiro never leaves the state of all zeros.
  if (state.every((word) => word === 0)) state[0] = 1;
  return state;
}

/** A stream of random numbers. */
export class Random {
  private readonly state: Uint32Array;
  /** Seed and fork names; a name is quoted, so that no two paths read the same. */
  private readonly path: string;

  /** `seed` is a whole number; as a text it can be anything. */
  constructor(seed: number | string) {
    if (typeof seed === 'number' && !Number.isSafeInteger(seed)) {
      throw new RangeError(
        `Random: the seed ${seed} is not a whole number. Give one from 0 to 2³¹ − 1.`,
      );
    }
    this.path = String(seed);
    this.state = hashed(this.path);
  }

  /**
   * An independent stream, the same for a name however much was drawn before: what validation draws
   * cannot disturb training, and step 37 can be drawn again after a restart with `fork('step 37')`.
   */
  fork(name: string): Random {
    return new Random(`${this.path}/${JSON.stringify(name)}`);
  }

  /** 0 ≤ number < 1, a multiple of 2⁻³². */
  uniform(): number {
    return xoshiro128(this.state) / 2 ** 32;
  }

  /** Standard normal: mean 0, variance 1. At most 6.7 in size. */
  normal(): number {
    // Box and Muller. 1 − uniform is never 0, so the logarithm is finite.
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** 0 to n − 1, each equally likely. `n` is a whole number from 1 to 2³². */
  integer(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new RangeError(`Random.integer: n is ${n}. Give a whole number from 1 to 2³².`);
    }
    // Beyond the last whole multiple of n, small remainders would come more often; so those are
    // drawn again.
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const bits = xoshiro128(this.state);
      if (bits < limit) return bits % n;
    }
  }
}
