// Backward of rms_norm.wgsl with respect to x. For y = x̂ · gain, x̂ = x · rrms:
//
//   dx (rows, C) = rrms · (dx̂ − x̂ · mean(dx̂ · x̂)) [+ addend], dx̂ = dy · gain
//
// The addend is the gradient that reaches x along the residual connection. Aliases: scalar.
// Constants: LANES (threads a row), ADDEND (0 or 1).

#include "rows.wgsl"

struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, C)
@group(0) @binding(2) var<storage, read> gain: array<scalar>; // (C)
@group(0) @binding(3) var<storage, read> rrms: array<f32>; // (rows)
@group(0) @binding(4) var<storage, read> dy: array<scalar>; // (rows, C)
@group(0) @binding(5) var<storage, read_write> dx: array<scalar>; // (rows, C)
#if ADDEND
@group(0) @binding(6) var<storage, read> addend: array<scalar>; // (rows, C)
#endif

alias row_value = f32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let row = group.x * ROWS + slot / LANES;
  let safe_row = min(row, params.rows - 1);
  let first = safe_row * params.C;
  let scale = rrms[safe_row];
  var sum = 0.0; // Σ dx̂ · x̂
  for (var c = lane; c < params.C; c += LANES) {
    sum += f32(dy[first + c]) * f32(gain[c]) * f32(x[first + c]) * scale;
  }
  let mean = row_sum(sum, slot, lane) / f32(params.C);
  if (row >= params.rows) { return; }
  for (var c = lane; c < params.C; c += LANES) {
    var value = scale * (f32(dy[first + c]) * f32(gain[c]) - f32(x[first + c]) * scale * mean);
    #if ADDEND
    value += f32(addend[first + c]);
    #endif
    dx[first + c] = scalar(value);
  }
}
