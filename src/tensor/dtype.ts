// Element types of tensors, and float32 <-> float16 conversion on the CPU. Not a tensor: only
// numbers and their bits.

export type DType = 'f32' | 'f16' | 'u32' | 'i32';

/** Bytes that one element takes in a buffer. */
export const BYTES: Readonly<Record<DType, number>> = { f32: 4, f16: 2, u32: 4, i32: 4 };

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** `mantissa` shifted right by `shift` (1 to 31), rounded to the nearest integer, ties to even. */
function shiftRounded(mantissa: number, shift: number): number {
  const kept = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return rest > half || (rest === half && kept & 1) ? kept + 1 : kept;
}

/** The float16 bits of a float32's bits. */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const exponent = (bits >>> 23) & 0xff;
  const mantissa = bits & 0x7fffff;
  // The quiet bit keeps a NaN a NaN when the rest of its payload lies in the bits that are cut off.
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa ? 0x200 | (mantissa >>> 13) : 0);
  const halfExponent = exponent - 127 + 15;
  if (halfExponent >= 31) return sign | 0x7c00;
  if (halfExponent > 0) {
    // A carry out of the mantissa moves the exponent up, and past 65504 gives infinity: just what
    // rounding asks for.
    return sign + (halfExponent << 10) + shiftRounded(mantissa, 13);
  }
  const shift = 14 - halfExponent;
  return shift > 24 ? sign : sign + shiftRounded(mantissa | 0x800000, shift);
}

/** The float32 bits of a float16's bits. Exact: every float16 is a float32. */
function singleBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (mantissa << 13);
  if (exponent > 0) return sign | ((exponent - 15 + 127) << 23) | (mantissa << 13);
  if (mantissa === 0) return sign;
  // A subnormal, mantissa · 2^-24: move its leading one to the implied place.
  const shift = Math.clz32(mantissa) - 21;
  return sign | ((127 - 14 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13);
}

/**
 * float16 bits of each value, rounded to nearest, ties to even. Subnormals are kept; from 65520 on
 * it is infinity.
 */
export function toHalf(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) halves[i] = halfBits(bits[i]);
  return halves;
}

/** The values of float16 bits. Exact; a NaN keeps its sign and payload. */
export function fromHalf(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(halves.length);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < halves.length; i++) bits[i] = singleBits(halves[i]);
  return values;
}

/** `value` as float16 would hold it. */
export function roundToHalf(value: number): number {
  scratch[0] = value;
  scratchBits[0] = singleBits(halfBits(scratchBits[0]));
  return scratch[0];
}
