// Backward of head_norm.wgsl with respect to x, in place: d (rows, q | k | v) holds the gradient of
// y before and that of x after. For y = turn(x̂ · gain), x̂ = x · rrms, and each unit of q and k:
//
//   dx = rrms · (dx̂ − x̂ · mean(dx̂ · x̂)), dx̂ = turn back(dy) · gain
//
// v's gradient stays as it is. Aliases: scalar. Constants: LANES (threads a unit).

#include "rows.wgsl"
#include "head_units.wgsl"

struct Params { T: u32, NQ: u32, NK: u32, q_size: u32, k_size: u32, half_size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, q | k | v)
@group(0) @binding(2) var<storage, read> gains: array<scalar>; // (q_size + k_size)
@group(0) @binding(3) var<storage, read> table: array<vec2f>; // (T, D / 2): cosine, sine
@group(0) @binding(4) var<storage, read> rrms: array<f32>; // (rows, NQ + NK)
@group(0) @binding(5) var<storage, read_write> d: array<scalar>; // (rows, q | k | v)

alias row_value = f32;

/** The gradients of a pair's two normed values, from those of the values after the turn. */
fn turned_back(first: u32, i: u32, row: u32) -> vec2f {
  let turn = table[(row % params.T) * params.half_size + i % params.half_size];
  let pair = vec2f(f32(d[first + i]), f32(d[first + i + params.half_size]));
  return vec2f(pair.x * turn.x + pair.y * turn.y, pair.y * turn.x - pair.x * turn.y);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let row = group.y;
  let normed = params.NQ + params.NK; // units
  let index = group.x * ROWS + slot / LANES;
  let safe_index = min(index, normed - 1);
  let unit = unit_at(row, safe_index);
  let first = unit.first;
  let gain = unit.gain;
  let scale = rrms[row * normed + safe_index];
  var sum = 0.0; // Σ dx̂ · x̂
  for (var pair = lane; pair < unit.size / 2; pair += LANES) {
    let i = first_of_pair(pair);
    let j = i + params.half_size;
    let dnormed = turned_back(first, i, row) * vec2f(f32(gains[gain + i]), f32(gains[gain + j]));
    sum += dot(dnormed, vec2f(f32(x[first + i]), f32(x[first + j])) * scale);
  }
  let mean = row_sum(sum, slot, lane) / f32(unit.size);
  if (index >= normed) { return; }
  for (var pair = lane; pair < unit.size / 2; pair += LANES) {
    let i = first_of_pair(pair);
    let j = i + params.half_size;
    let dnormed = turned_back(first, i, row) * vec2f(f32(gains[gain + i]), f32(gains[gain + j]));
    let unit = vec2f(f32(x[first + i]), f32(x[first + j])) * scale;
    let dx = scale * (dnormed - unit * mean);
    d[first + i] = scalar(dx.x);
    d[first + j] = scalar(dx.y);
  }
}
