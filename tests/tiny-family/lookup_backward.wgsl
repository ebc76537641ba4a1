// Differentiates x = table[token] of lookup.wgsl: dtable[token] += the sum of dx over the token's
// rows. One thread for each element of the table. Aliases: scalar.

struct Params { rows: u32, C: u32, V: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // (rows)
@group(0) @binding(2) var<storage, read> dx: array<scalar>; // (rows, C)
@group(0) @binding(3) var<storage, read_write> dtable: array<f32>; // (V, C)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.V * params.C) { return; }
  let token = id.x / params.C;
  let c = id.x % params.C;
  var sum = 0.0;
  for (var row = 0u; row < params.rows; row++) {
    if (tokens[row] == token) { sum += f32(dx[row * params.C + c]); }
  }
  dtable[id.x] += sum;
}
