// sums (N) += Σ x (rows, N) over rows, always in the same order.
// Aliases: scalar. Constants: LANES (threads that share a column).

#include "columns.wgsl"

struct Params {
  rows: u32,
  N: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, N)
@group(0) @binding(2) var<storage, read_write> sums: array<f32>; // (N)

alias column_value = f32;

@compute @workgroup_size(16, LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let n = group.x * 16 + local.x;
  let column = min(n, params.N - 1);
  var sum = 0.0;
  for (var row = local.y; row < params.rows; row += LANES) {
    sum += f32(x[row * params.N + column]);
  }
  let total = column_total(sum, local);
  if (local.y == 0u && n < params.N) { sums[n] += total; }
}
