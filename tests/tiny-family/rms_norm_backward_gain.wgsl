// Differentiates y = x̂ · gain, x̂ = x · rrms, of rms_norm.wgsl with respect to gain:
// dgain (C) += Σ_rows dy · x̂. One thread for each column. Aliases: scalar.

struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, C)
@group(0) @binding(2) var<storage, read> rrms: array<f32>; // (rows)
@group(0) @binding(3) var<storage, read> dy: array<scalar>; // (rows, C)
@group(0) @binding(4) var<storage, read_write> dgain: array<f32>; // (C)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.C) { return; }
  var sum = 0.0;
  for (var row = 0u; row < params.rows; row++) {
    sum += f32(dy[row * params.C + id.x]) * f32(x[row * params.C + id.x]) * rrms[row];
  }
  dgain[id.x] += sum;
}
