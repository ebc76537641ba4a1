// The layers of the Llama family that GPT-2 lacks: RMSNorm, rotary positions, SwiGLU. Each backward
// follows its forward. Grouped queries and sliding windows are part of attention in layers.ts.

import { expectLength, type Numbers } from './arrays';
import { positionIn } from './layers';

export interface RmsNormResult {
  y: Float64Array; // (N, C)
  rrms: Float64Array; // (N): 1 / √(mean of x² + epsilon)
}

/** y (N, C) = gain (C) · x · rrms, rrms = 1 / √(mean(x²) + epsilon) of each row of x (N, C). */
export function rmsNorm(x: Numbers, gain: Numbers, epsilon: number): RmsNormResult {
  const C = gain.length;
  const N = x.length / C;
  const result = { y: new Float64Array(x.length), rrms: new Float64Array(N) };
  for (let n = 0; n < N; n++) {
    let square = 0;
    for (let c = 0; c < C; c++) square += x[n * C + c] ** 2 / C;
    result.rrms[n] = 1 / Math.sqrt(square + epsilon);
    for (let c = 0; c < C; c++) result.y[n * C + c] = gain[c] * x[n * C + c] * result.rrms[n];
  }
  return result;
}

/**
 * Backward of `rmsNorm`, with x̂ = x · rrms and g = gain · dy:
 *
 *     dx (N, C) = rrms · (g − x̂ · mean(g · x̂))
 *     dgain (C) = Σ dy · x̂, summed over rows
 */
export function rmsNormBackward(
  dy: Numbers,
  x: Numbers,
  gain: Numbers,
  epsilon: number,
): { dx: Float64Array; dgain: Float64Array } {
  expectLength('rmsNormBackward', 'dy', dy, x.length);
  const C = gain.length;
  const { rrms } = rmsNorm(x, gain, epsilon);
  const dx = new Float64Array(x.length);
  const dgain = new Float64Array(C);
  for (let n = 0; n < rrms.length; n++) {
    const normalised = (c: number) => x[n * C + c] * rrms[n];
    let mean = 0;
    for (let c = 0; c < C; c++) {
      mean += (gain[c] * dy[n * C + c] * normalised(c)) / C;
      dgain[c] += dy[n * C + c] * normalised(c);
    }
    for (let c = 0; c < C; c++)
      dx[n * C + c] = rrms[n] * (gain[c] * dy[n * C + c] - normalised(c) * mean);
  }
  return { dx, dgain };
}

/** How a longer context than the model was first trained for slows its rotations. */
export type RotaryScaling =
  | { type: 'linear'; factor: number }
  | {
      type: 'llama3';
      factor: number;
      low_freq_factor: number;
      high_freq_factor: number;
      original_max_position_embeddings: number;
    };

/**
 * The angle in radians by which each position turns pair i of a head of D elements:
 * theta^(−2i / D), i < D / 2. `linear` divides all of them by the factor. `llama3` divides those
 * that turn less than low_freq_factor times in the original context, leaves those that turn more
 * than high_freq_factor times, and blends in between.
 */
export function rotaryFrequencies(
  D: number,
  theta: number,
  scaling?: RotaryScaling | null,
): Float64Array {
  return Float64Array.from({ length: D / 2 }, (_, i) => {
    const frequency = theta ** ((-2 * i) / D);
    if (!scaling) return frequency;
    const slow = frequency / scaling.factor;
    if (scaling.type === 'linear') return slow;
    const { low_freq_factor: low, high_freq_factor: high } = scaling;
    const turns = (scaling.original_max_position_embeddings * frequency) / (2 * Math.PI);
    const share = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return (1 - share) * slow + share * frequency;
  });
}

/**
 * Turns the first `rotated` of the `heads` heads in each row of x (B·T, heads · D). Element i of a
 * head and element i + D / 2 are a pair, which row n turns by position · frequencies[i] (D / 2),
 * where its position is n mod T, less where its document begins (see `positionIn`):
 *
 *     y_i       = x_i cos a − x_{i + D/2} sin a
 *     y_{i+D/2} = x_{i + D/2} cos a + x_i sin a
 *
 * `direction` −1 turns back, which is the backward: the transpose of a rotation is its inverse.
 */
export function rotate(
  x: Numbers,
  frequencies: Numbers,
  { T, heads, rotated, starts }: { T: number; heads: number; rotated: number; starts?: Numbers },
  direction: 1 | -1 = 1,
): Float64Array {
  const half = frequencies.length;
  const D = 2 * half;
  const y = Float64Array.from(x);
  for (let n = 0; n < x.length / (heads * D); n++) {
    for (let h = 0; h < rotated; h++) {
      for (let i = 0; i < half; i++) {
        const at = (n * heads + h) * D + i;
        const angle = direction * positionIn(T, starts, n) * frequencies[i];
        y[at] = x[at] * Math.cos(angle) - x[at + half] * Math.sin(angle);
        y[at + half] = x[at + half] * Math.cos(angle) + x[at] * Math.sin(angle);
      }
    }
  }
  return y;
}

/** y (N, F) = silu(gate) · up of x (N, 2F), whose rows are gate | up; silu(g) = g / (1 + e^−g). */
export function swiglu(x: Numbers, F: number): Float64Array {
  return Float64Array.from({ length: x.length / 2 }, (_, i) => {
    const at = Math.floor(i / F) * 2 * F + (i % F);
    return (x[at] / (1 + Math.exp(-x[at]))) * x[at + F];
  });
}

/**
 * Backward of `swiglu`, where s = 1 / (1 + e^−gate):
 * dgate = dy · up · s (1 + gate (1 − s)), dup = dy · gate · s.
 */
export function swigluBackward(dy: Numbers, x: Numbers, F: number): Float64Array {
  expectLength('swigluBackward', 'dy', dy, x.length / 2);
  const dx = new Float64Array(x.length);
  for (let i = 0; i < dy.length; i++) {
    const at = Math.floor(i / F) * 2 * F + (i % F);
    const [gate, up] = [x[at], x[at + F]];
    const s = 1 / (1 + Math.exp(-gate));
    dx[at] = dy[i] * up * s * (1 + gate * (1 - s));
    dx[at + F] = dy[i] * gate * s;
  }
  return dx;
}
