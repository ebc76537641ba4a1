// What every kernel that reads rows of logits (B, T, V) needs: where a row begins, and numbers that
// stand for −∞. Constants: LANES (threads a row).

#include "rows.wgsl"

// Below every logit. Not −∞, because −∞ − (−∞) is NaN.
const LOWEST = -3.4e38;
// Stands for ln 0. With −∞, a token that the teacher rules out would give 0 · ∞.
const LOG_ZERO = -1e30;
// Long sums are made of blocks of this many elements, 32 a thread: the rounding error then grows
// with the number of blocks and with their length, not with V.
const BLOCK = 32 * LANES;

// The larger of both. Unlike max, which may drop it, a NaN stays one: a broken model's figures must
// not look like measurements.
fn at_least(x: f32, bound: f32) -> f32 {
  return select(x, bound, x < bound);
}

// By its bits, since a compiler may assume that no number is NaN.
fn is_finite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// Where row r of the B·T, which is (b, t) = (r / T, r % T), begins in a tensor with these strides.
fn row_address(row: u32, T: u32, offset: u32, stride_b: u32, stride_t: u32) -> u32 {
  return offset + (row / T) * stride_b + (row % T) * stride_t;
}
