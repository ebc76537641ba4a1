// Backward of rms_norm.wgsl with respect to gain. For y = x̂ · gain, x̂ = x · rrms:
//
//   dgain (C) += Σ dy · x̂, summed over rows
//
// Aliases: scalar. Constants: LANES (threads that share a column).

#include "columns.wgsl"

struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, C)
@group(0) @binding(2) var<storage, read> rrms: array<f32>; // (rows)
@group(0) @binding(3) var<storage, read> dy: array<scalar>; // (rows, C)
@group(0) @binding(4) var<storage, read_write> dgain: array<f32>; // (C)

alias column_value = f32;

@compute @workgroup_size(16, LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let c = group.x * 16 + local.x;
  let column = min(c, params.C - 1);
  var sum = 0.0;
  for (var row = local.y; row < params.rows; row += LANES) {
    let at = row * params.C + column;
    sum += f32(dy[at]) * f32(x[at]) * rrms[row];
  }
  let total = column_total(sum, local);
  if (local.y == 0u && c < params.C) { dgain[c] += total; }
}
