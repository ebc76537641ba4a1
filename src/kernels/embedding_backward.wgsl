// Backward of `wte[token]` in embedding.wgsl: dwte[token] += Σ dx over the rows with that token.
// `order` lists the rows sorted by token, so one thread sums all rows of a token: no atomics, and
// always in the same order. `dwte` may be a run of the table's rows; then other tokens are left
// out. Aliases: scalar.

struct Params {
  rows: u32,
  C: u32,
  first: u32, // first token of the run
  count: u32, // its length
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // (rows)
@group(0) @binding(2) var<storage, read> order: array<u32>; // (rows)
@group(0) @binding(3) var<storage, read> dx: array<scalar>; // (rows, C)
@group(0) @binding(4) var<storage, read_write> dwte: array<f32>; // (count, C)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  let start = id.y;
  if (c >= params.C) { return; }
  let token = tokens[order[start]];
  if (token < params.first || token - params.first >= params.count) { return; }
  // Only the thread at the first of the token's rows sums them.
  if (start > 0 && tokens[order[start - 1]] == token) { return; }
  var sum = 0.0;
  for (var i = start; i < params.rows; i++) {
    let row = order[i];
    if (tokens[row] != token) { break; }
    sum += f32(dx[row * params.C + c]);
  }
  dwte[(token - params.first) * params.C + c] += sum;
}
