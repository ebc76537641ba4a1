// RMSNorm: y (rows, C) = x · rrms · gain, rrms = 1 / √(mean(x²) + epsilon) of each row in f32. It
// is stored for the backward pass. Aliases: scalar. Constants: LANES (threads a row).

#include "rows.wgsl"

struct Params { rows: u32, C: u32, epsilon: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, C)
@group(0) @binding(2) var<storage, read> gain: array<scalar>; // (C)
@group(0) @binding(3) var<storage, read_write> y: array<scalar>; // (rows, C)
@group(0) @binding(4) var<storage, read_write> rrms: array<f32>; // (rows)

alias row_value = f32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let row = group.x * ROWS + slot / LANES;
  let first = min(row, params.rows - 1) * params.C;
  var squares = 0.0;
  for (var c = lane; c < params.C; c += LANES) {
    let value = f32(x[first + c]);
    squares += value * value;
  }
  let scale = inverseSqrt(row_sum(squares, slot, lane) / f32(params.C) + params.epsilon);
  if (row >= params.rows) { return; }
  for (var c = lane; c < params.C; c += LANES) {
    y[first + c] = scalar(f32(x[first + c]) * scale * f32(gain[c]));
  }
  if (lane == 0u) { rrms[row] = scale; }
}
