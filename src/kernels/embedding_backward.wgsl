// Differentiates `wte[token]` of embedding.wgsl: dwte[token] += the sum of dx over the rows that
// hold the token. `order` lists the rows sorted by token, so one thread sums a whole run: no
// atomics, and always the same order. `dwte` may be a run of the table: other tokens are left
// alone. Aliases: scalar.

struct Params { rows: u32, C: u32, first: u32, count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<u32>; // (rows)
@group(0) @binding(2) var<storage, read> order: array<u32>; // (rows)
@group(0) @binding(3) var<storage, read> dx: array<scalar>; // (rows, C)
@group(0) @binding(4) var<storage, read_write> dwte: array<f32>; // (count, C): tokens `first` and on

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let c = id.x;
  let start = id.y;
  if (c >= params.C) { return; }
  let token = tokens[order[start]];
  if (token < params.first || token - params.first >= params.count) { return; }
  if (start > 0 && tokens[order[start - 1]] == token) { return; }
  var sum = 0.0;
  for (var i = start; i < params.rows; i++) {
    let row = order[i];
    if (tokens[row] != token) { break; }
    sum += f32(dx[row * params.C + c]);
  }
  dwte[(token - params.first) * params.C + c] += sum;
}
