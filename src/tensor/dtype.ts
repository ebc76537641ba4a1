// Element types of tensors, and conversion between float32 and float16 on the CPU.

export type DType = 'f32' | 'f16' | 'u32' | 'i32';

/** The size of one element in a buffer, in bytes. */
export const BYTES: Readonly<Record<DType, number>> = { f32: 4, f16: 2, u32: 4, i32: 4 };

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** `mantissa` shifted right by `shift` (1 to 31), rounded to the nearest integer, ties to even. */
function shiftRounded(mantissa: number, shift: number): number {
  const below = mantissa >>> shift;
  const remainder = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return remainder > half || (remainder === half && below & 1) ? below + 1 : below;
}

/** The bits of a float32 → the bits of the nearest float16. */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const exponent = (bits >>> 23) & 0xff;
  const mantissa = bits & 0x7fffff;
  // A NaN whose payload lies in the dropped bits would become an infinity without the quiet bit.
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa ? 0x200 | (mantissa >>> 13) : 0);
  const halfExponent = exponent - 127 + 15;
  if (halfExponent >= 31) return sign | 0x7c00;
  if (halfExponent > 0) {
    // A carry out of the mantissa increments the exponent, past 65504 to infinity. Both are correct
    // rounding.
    return sign + (halfExponent << 10) + shiftRounded(mantissa, 13);
  }
  const shift = 14 - halfExponent;
  return shift > 24 ? sign : sign + shiftRounded(mantissa | 0x800000, shift);
}

/** The bits of a float16 → the bits of the same float32. Exact. */
function singleBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (mantissa << 13);
  if (exponent > 0) return sign | ((exponent - 15 + 127) << 23) | (mantissa << 13);
  if (mantissa === 0) return sign;
  // Subnormal, mantissa · 2^-24: shift its leading one to the implicit place.
  const shift = Math.clz32(mantissa) - 21;
  return sign | ((127 - 14 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13);
}

/** The float16 bits of each value, rounded to nearest, ties to even; infinity from 65520. */
export function toHalf(values: Float32Array): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) halves[i] = halfBits(bits[i]);
  return halves;
}

/** The value of each float16's bits. Exact; a NaN keeps its sign and payload. */
export function fromHalf(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(halves.length);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < halves.length; i++) bits[i] = singleBits(halves[i]);
  return values;
}

/** The float16 nearest to `value`. */
export function roundToHalf(value: number): number {
  scratch[0] = value;
  scratchBits[0] = singleBits(halfBits(scratchBits[0]));
  return scratch[0];
}
