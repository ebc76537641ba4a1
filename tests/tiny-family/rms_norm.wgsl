// y (rows, C) = x · rrms · gain, with rrms = 1 / √(mean(x²) + epsilon) of each row in f32, which
// the backward pass reads. One thread for each row. Aliases: scalar.

struct Params { rows: u32, C: u32, epsilon: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, C)
@group(0) @binding(2) var<storage, read> gain: array<scalar>; // (C)
@group(0) @binding(3) var<storage, read_write> y: array<scalar>; // (rows, C)
@group(0) @binding(4) var<storage, read_write> rrms: array<f32>; // (rows)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.rows) { return; }
  let first = id.x * params.C;
  var squares = 0.0;
  for (var c = 0u; c < params.C; c++) { squares += f32(x[first + c]) * f32(x[first + c]); }
  let r = inverseSqrt(squares / f32(params.C) + params.epsilon);
  for (var c = 0u; c < params.C; c++) {
    y[first + c] = scalar(f32(x[first + c]) * r * f32(gain[c]));
  }
  rrms[id.x] = r;
}
