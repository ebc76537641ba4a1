// Seeded random numbers: the same seed gives the same numbers on every machine. Not for secrets.
// The generator is Blackman and Vigna's xoshiro128**; its state is a hash of the seed and the names
// of the forks.

/** One step of xoshiro128**: the next u32. Changes `state`, four u32 that are not all 0. */
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

const rotated = (bits: number, by: number) => (bits << by) | (bits >>> (32 - by));

/** MurmurHash3's finaliser: a bijection whose every output bit depends on every input bit. */
function mixed(bits: number): number {
  let h = bits;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A text → four u32. Each depends on every character, and on its lane, so that they differ. */
function hashed(text: string): Uint32Array {
  const state = Uint32Array.of(1, 2, 3, 4);
  for (let i = 0; i < text.length; i++) {
    for (let lane = 0; lane < 4; lane++) {
      state[lane] = mixed(
        Math.imul(state[lane], 0x9e3779b1) + text.charCodeAt(i) + state[(lane + 1) % 4],
      );
    }
  }
  // xoshiro never leaves a state of zeros.
  if (state.every((bits) => bits === 0)) state[0] = 1;
  return state;
}

/** A stream of random numbers. */
export class Random {
  private readonly state: Uint32Array;
  /** The seed and the names of the forks, quoted so that different paths never look alike. */
  private readonly path: string;

  /** `seed` is an integer, or any text. */
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
   * An independent stream that depends on the name, not on what was drawn before. So validation
   * cannot disturb training, and `fork('step 37')` gives the same numbers after a restart.
   */
  fork(name: string): Random {
    return new Random(`${this.path}/${JSON.stringify(name)}`);
  }

  /** 0 ≤ number < 1, a multiple of 2⁻³². */
  uniform(): number {
    return xoshiro128(this.state) / 2 ** 32;
  }

  /** Standard normal: mean 0, variance 1. The magnitude is at most 6.7. */
  normal(): number {
    // Box–Muller. 1 − uniform is never 0, so the logarithm is finite.
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** An integer from 0 to n − 1, uniformly. `n` is an integer from 1 to 2³². */
  integer(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new RangeError(`Random.integer: n is ${n}. Give a whole number from 1 to 2³².`);
    }
    // Past the last multiple of n small remainders would be more likely, so those are drawn again.
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const bits = xoshiro128(this.state);
      if (bits < limit) return bits % n;
    }
  }
}
