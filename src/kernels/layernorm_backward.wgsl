// Backward of layernorm.wgsl with respect to x. For y = x̂ · gamma + beta, x̂ = (x − mean) · rstd:
//
//   dx (rows, C) = rstd · (dx̂ − mean(dx̂) − x̂ · mean(dx̂ · x̂)) [+ addend], dx̂ = dy · gamma
//
// The addend is the gradient that reaches x along the residual connection. x and dy are read
// through their strides. Aliases: scalar. Constants: LANES (threads a row), ADDEND (0 or 1).

#include "rows.wgsl"

struct Params {
  rows: u32,
  C: u32,
  x_offset: u32,
  x_row: u32,
  x_col: u32,
  dy_offset: u32,
  dy_row: u32,
  dy_col: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, C) through strides
@group(0) @binding(2) var<storage, read> gamma: array<scalar>; // (C)
@group(0) @binding(3) var<storage, read> moments: array<vec2f>; // (rows): mean, rstd
@group(0) @binding(4) var<storage, read> dy: array<scalar>; // (rows, C) through strides
@group(0) @binding(5) var<storage, read> addend: array<scalar>; // (rows, C)
@group(0) @binding(6) var<storage, read_write> dx: array<scalar>; // (rows, C)

alias row_value = vec2f;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let row = group.x * ROWS + slot / LANES;
  let valid = row < params.rows;
  let safe_row = min(row, params.rows - 1);
  let x0 = params.x_offset + safe_row * params.x_row;
  let dy0 = params.dy_offset + safe_row * params.dy_row;
  let first = safe_row * params.C;
  let mean = moments[safe_row].x;
  let rstd = moments[safe_row].y;
  var sums = vec2f(); // Σ dx̂, Σ dx̂ · x̂
  for (var c = lane; c < params.C; c += LANES) {
    let dnorm = f32(dy[dy0 + c * params.dy_col]) * f32(gamma[c]);
    sums += vec2f(dnorm, dnorm * (f32(x[x0 + c * params.x_col]) - mean) * rstd);
  }
  let means = row_sum(sums, slot, lane) / f32(params.C);
  if (!valid) { return; }
  for (var c = lane; c < params.C; c += LANES) {
    let dnorm = f32(dy[dy0 + c * params.dy_col]) * f32(gamma[c]);
    let norm = (f32(x[x0 + c * params.x_col]) - mean) * rstd;
    var value = rstd * (dnorm - means.x - norm * means.y);
    if (ADDEND == 1u) { value += f32(addend[first + c]); }
    dx[first + c] = scalar(value);
  }
}
