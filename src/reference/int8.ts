// Weights in 8 bits: what a byte and its block's scale stand for.

import type { Numbers } from './arrays';

/** w[i] = scales[⌊i / block⌋] · levels[i] */
export const fromInt8 = (levels: Numbers, scales: Numbers, block: number): Float64Array =>
  Float64Array.from(levels, (level, i) => scales[Math.floor(i / block)] * level);
