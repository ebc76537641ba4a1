// x (rows, C) = wte[token] + wpe[row % T], rows = B·T. `wte` may be a run of the table: rows of
// other tokens are left alone. Aliases: scalar.

struct Params { rows: u32, T: u32, C: u32, V: u32, first: u32, count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // (rows)
@group(0) @binding(2) var<storage, read> wte: array<scalar>; // (count, C): tokens `first` and on
@group(0) @binding(3) var<storage, read> wpe: array<scalar>; // (positions, C)
@group(0) @binding(4) var<storage, read_write> x: array<scalar>; // (rows, C)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  let row = id.y;
  if (c >= params.C) { return; }
  let token = min(tokens[row], params.V - 1);
  if (token < params.first || token - params.first >= params.count) { return; }
  x[row * params.C + c] = scalar(f32(wte[(token - params.first) * params.C + c]) + f32(wpe[(row % params.T) * params.C + c]));
}
