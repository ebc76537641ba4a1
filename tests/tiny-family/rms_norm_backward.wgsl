// Differentiates y = x̂ · gain, x̂ = x · rrms, of rms_norm.wgsl with respect to x:
// dx = rrms · (g − x̂ · mean(g · x̂)) [+ addend], g = dy · gain. The addend is the gradient that
// reaches x along the residual. One thread for each row. Aliases: scalar. Constants: ADDEND.

struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, C)
@group(0) @binding(2) var<storage, read> gain: array<scalar>; // (C)
@group(0) @binding(3) var<storage, read> rrms: array<f32>; // (rows)
@group(0) @binding(4) var<storage, read> dy: array<scalar>; // (rows, C)
@group(0) @binding(5) var<storage, read> addend: array<scalar>; // (rows, C)
@group(0) @binding(6) var<storage, read_write> dx: array<scalar>; // (rows, C)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.rows) { return; }
  let first = id.x * params.C;
  let r = rrms[id.x];
  var sum = 0.0;
  for (var c = 0u; c < params.C; c++) {
    sum += f32(dy[first + c]) * f32(gain[c]) * f32(x[first + c]) * r;
  }
  let mean = sum / f32(params.C);
  for (var c = 0u; c < params.C; c++) {
    var d = r * (f32(dy[first + c]) * f32(gain[c]) - f32(x[first + c]) * r * mean);
    if (ADDEND == 1u) { d += f32(addend[first + c]); }
    dx[first + c] = scalar(d);
  }
}
