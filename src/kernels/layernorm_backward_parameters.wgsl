// Backward of layernorm.wgsl with respect to gamma and beta. For y = x̂ · gamma + beta:
//
//   dgamma (C) += Σ dy · x̂, dbeta (C) += Σ dy, sums over rows, x̂ = (x − mean) · rstd
//
// x and dy are read through their strides. Aliases: scalar. Constants: LANES (threads that share a
// column).

#include "columns.wgsl"

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
@group(0) @binding(2) var<storage, read> moments: array<vec2f>; // (rows): mean, rstd
@group(0) @binding(3) var<storage, read> dy: array<scalar>; // (rows, C) through strides
@group(0) @binding(4) var<storage, read_write> dgamma: array<f32>; // (C)
@group(0) @binding(5) var<storage, read_write> dbeta: array<f32>; // (C)

alias column_value = vec2f;

@compute @workgroup_size(16, LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let c = group.x * 16 + local.x;
  let column = min(c, params.C - 1);
  var sums = vec2f();
  for (var row = local.y; row < params.rows; row += LANES) {
    let d = f32(dy[params.dy_offset + row * params.dy_row + column * params.dy_col]);
    let x_at = f32(x[params.x_offset + row * params.x_row + column * params.x_col]);
    sums += vec2f(d * (x_at - moments[row].x) * moments[row].y, d);
  }
  let totals = column_total(sums, local);
  if (local.y == 0u && c < params.C) {
    dgamma[c] += totals.x;
    dbeta[c] += totals.y;
  }
}
