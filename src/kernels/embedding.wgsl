// x (rows, C) = wte[token] [+ wpe[row % T]], rows = B·T. `wte` may be a run of the table's rows;
// then rows of x with other tokens are left as they are. Aliases: scalar. Constants: POSITIONS (0
// or 1).

struct Params {
  rows: u32,
  T: u32,
  C: u32,
  V: u32,
  first: u32, // first token of the run
  count: u32, // its length
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // (rows)
@group(0) @binding(2) var<storage, read> wte: array<scalar>; // (count, C)
@group(0) @binding(3) var<storage, read_write> x: array<scalar>; // (rows, C)
#if POSITIONS
@group(0) @binding(4) var<storage, read> wpe: array<scalar>; // (positions, C)
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  let row = id.y;
  if (c >= params.C) { return; }
  let token = min(tokens[row], params.V - 1);
  if (token < params.first || token - params.first >= params.count) { return; }
  let token_embedding = f32(wte[(token - params.first) * params.C + c]);
  #if POSITIONS
  let position_embedding = f32(wpe[(row % params.T) * params.C + c]);
  x[row * params.C + c] = scalar(token_embedding + position_embedding);
  #else
  x[row * params.C + c] = scalar(token_embedding);
  #endif
}
