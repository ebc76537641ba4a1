// RMSNorm of each head of q and of k, or of all of q and all of k, then rotary positions; v is
// copied. With x̂ = x · rrms, rrms = 1 / √(mean(x²) + epsilon) over the unit's elements, and the
// turn of rotary.wgsl:
//
//   y (rows, q | k | v) = turn(x̂ · gain) for q and k, x for v
//
// rrms is stored for the backward pass. Aliases: scalar. Constants: LANES (threads a unit).

#include "rows.wgsl"
#include "head_units.wgsl"

struct Params { T: u32, NQ: u32, NK: u32, q_size: u32, k_size: u32, half_size: u32, epsilon: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, q | k | v)
@group(0) @binding(2) var<storage, read> gains: array<scalar>; // (q_size + k_size)
@group(0) @binding(3) var<storage, read> table: array<vec2f>; // (T, D / 2): cosine, sine
@group(0) @binding(4) var<storage, read_write> y: array<scalar>; // (rows, q | k | v)
@group(0) @binding(5) var<storage, read_write> rrms: array<f32>; // (rows, NQ + NK)

alias row_value = f32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let row = group.y;
  let normed = params.NQ + params.NK; // units
  let units = normed + params.NK;
  let index = group.x * ROWS + slot / LANES;
  let unit = unit_at(row, min(index, units - 1));
  let first = unit.first;
  var squares = 0.0;
  for (var d = lane; d < unit.size; d += LANES) {
    let value = f32(x[first + d]);
    squares += value * value;
  }
  let scale = inverseSqrt(row_sum(squares, slot, lane) / f32(unit.size) + params.epsilon);
  if (index >= units) { return; }
  if (index >= normed) {
    for (var d = lane; d < unit.size; d += LANES) { y[first + d] = x[first + d]; }
    return;
  }
  for (var pair = lane; pair < unit.size / 2; pair += LANES) {
    let turn = table[(row % params.T) * params.half_size + pair % params.half_size];
    let i = first_of_pair(pair);
    let j = i + params.half_size;
    let one = f32(x[first + i]) * scale * f32(gains[unit.gain + i]);
    let other = f32(x[first + j]) * scale * f32(gains[unit.gain + j]);
    y[first + i] = scalar(one * turn.x - other * turn.y);
    y[first + j] = scalar(other * turn.x + one * turn.y);
  }
  if (lane == 0u) { rrms[row * normed + index] = scale; }
}
