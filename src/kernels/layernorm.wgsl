// LayerNorm: y (rows, C) = (x − mean) · rstd · gamma + beta, with mean and rstd of each row in f32.
// Both are stored for the backward pass. x is read through its strides. Aliases: scalar.
// Constants: LANES (threads a row).

#include "rows.wgsl"

struct Params {
  rows: u32,
  C: u32,
  epsilon: f32,
  x_offset: u32,
  x_row: u32,
  x_col: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, C) through strides
@group(0) @binding(2) var<storage, read> gamma: array<scalar>; // (C)
@group(0) @binding(3) var<storage, read> beta: array<scalar>; // (C)
@group(0) @binding(4) var<storage, read_write> y: array<scalar>; // (rows, C)
@group(0) @binding(5) var<storage, read_write> moments: array<vec2f>; // (rows): mean, rstd

alias row_value = f32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let row = group.x * ROWS + slot / LANES;
  let valid = row < params.rows;
  let x0 = params.x_offset + min(row, params.rows - 1) * params.x_row;
  var sum = 0.0;
  for (var c = lane; c < params.C; c += LANES) { sum += f32(x[x0 + c * params.x_col]); }
  let mean = row_sum(sum, slot, lane) / f32(params.C);
  var squares = 0.0;
  for (var c = lane; c < params.C; c += LANES) {
    let centred = f32(x[x0 + c * params.x_col]) - mean;
    squares += centred * centred;
  }
  let rstd = inverseSqrt(row_sum(squares, slot, lane) / f32(params.C) + params.epsilon);
  if (!valid) { return; }
  for (var c = lane; c < params.C; c += LANES) {
    let norm = (f32(x[x0 + c * params.x_col]) - mean) * rstd;
    y[row * params.C + c] = scalar(norm * f32(gamma[c]) + f32(beta[c]));
  }
  if (lane == 0u) { moments[row] = vec2f(mean, rstd); }
}
