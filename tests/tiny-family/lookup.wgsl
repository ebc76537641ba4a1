// x (rows, C) = table[token]. Aliases: scalar.

struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // (rows)
@group(0) @binding(2) var<storage, read> table: array<scalar>; // (V, C)
@group(0) @binding(3) var<storage, read_write> x: array<scalar>; // (rows, C)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.rows * params.C) { return; }
  let row = id.x / params.C;
  x[id.x] = table[tokens[row] * params.C + id.x % params.C];
}
