// RMSNorm of each head of q and of k, then rotary positions; v is copied. With x̂ = x · rrms,
// rrms = 1 / √(mean(x²) + epsilon) over the head's elements, and the turn of rotary.wgsl:
//
//   y (rows, NH + 2 NKV, D) = turn(x̂ · gain) for q and k, x for v
//
// rrms is stored for the backward pass. Aliases: scalar. Constants: LANES (threads a head).

#include "rows.wgsl"

struct Params { T: u32, NH: u32, NKV: u32, half_size: u32, epsilon: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, NH + 2 NKV, D)
@group(0) @binding(2) var<storage, read> gains: array<scalar>; // (2, D): of q, of k
@group(0) @binding(3) var<storage, read> table: array<vec2f>; // (T, D / 2): cosine, sine
@group(0) @binding(4) var<storage, read_write> y: array<scalar>; // (rows, NH + 2 NKV, D)
@group(0) @binding(5) var<storage, read_write> rrms: array<f32>; // (rows, NH + NKV)

alias row_value = f32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let row = group.y;
  let heads = params.NH + 2 * params.NKV;
  let normed = params.NH + params.NKV; // heads
  let head = group.x * ROWS + slot / LANES;
  let D = 2 * params.half_size;
  let first = (row * heads + min(head, heads - 1)) * D;
  var squares = 0.0;
  for (var d = lane; d < D; d += LANES) {
    let value = f32(x[first + d]);
    squares += value * value;
  }
  let scale = inverseSqrt(row_sum(squares, slot, lane) / f32(D) + params.epsilon);
  if (head >= heads) { return; }
  if (head >= normed) {
    for (var d = lane; d < D; d += LANES) { y[first + d] = x[first + d]; }
    return;
  }
  let gain = select(0u, D, head >= params.NH);
  for (var i = lane; i < params.half_size; i += LANES) {
    let turn = table[(row % params.T) * params.half_size + i];
    let j = i + params.half_size;
    let one = f32(x[first + i]) * scale * f32(gains[gain + i]);
    let other = f32(x[first + j]) * scale * f32(gains[gain + j]);
    y[first + i] = scalar(one * turn.x - other * turn.y);
    y[first + j] = scalar(other * turn.x + one * turn.y);
  }
  if (lane == 0u) { rrms[row * normed + head] = scale; }
}
