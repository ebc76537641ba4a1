// Numbers in 8 bits: a signed byte each, and a scale for each block of them. A number is scale ·
// byte, and off by at most half a scale, which is 1/254 of the block's largest magnitude.

/** Numbers that share a scale. */
export const INT8_BLOCK = 64;
/** −127 to 127, so that 0 is exact and both signs reach equally far. */
const LEVELS = 127;

/**
 * Rounds one block to nearest, away from 0 at ties.
 * @param levels as long as `values`, written
 * @returns the scale; 0 for a block of zeros. A NaN or an infinity makes it one, and stays visible
 */
export function toInt8(values: Float32Array, levels: Int8Array): number {
  let largest = 0;
  for (const value of values) {
    const magnitude = Math.abs(value);
    if (!(magnitude <= largest)) largest = magnitude;
  }
  const scale = Math.fround(largest / LEVELS);
  for (let i = 0; i < values.length; i++)
    levels[i] = scale > 0 ? Math.sign(values[i]) * Math.round(Math.abs(values[i] / scale)) : 0;
  return scale;
}
