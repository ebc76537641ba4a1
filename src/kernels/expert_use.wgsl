// How a layer's experts are used, one row (token) at a time, for an evaluation:
//
//   uses (rows, E + 1): 1 for each expert that the row chose, else 0; and the entropy of its
//     probabilities, −Σ p ln p of p / Σ p: sigmoids do not add up to 1. A row whose next label is
//     ignored, or that has none, gives 0 for all.
//   first (rows): the expert that the row chose first, of every row

struct Params { rows: u32, T: u32, E: u32, k: u32, ignore: i32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>; // (rows, E)
@group(0) @binding(2) var<storage, read> chosen: array<u32>; // (rows, k)
@group(0) @binding(3) var<storage, read> labels: array<i32>; // (rows), T in a sequence
@group(0) @binding(4) var<storage, read_write> uses: array<f32>; // (rows, E + 1)
@group(0) @binding(5) var<storage, read_write> first: array<u32>; // (rows)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.rows) { return; }
  let choices = row * params.k;
  first[row] = chosen[choices];
  let next = min(row + 1, params.rows - 1);
  let counts = next % params.T != 0 && next != row && labels[next] != params.ignore;
  let at = row * (params.E + 1);
  var total = 0.0;
  for (var e = 0u; e < params.E; e++) { total += p[row * params.E + e]; }
  var entropy = 0.0;
  for (var e = 0u; e < params.E; e++) {
    let value = p[row * params.E + e] / total;
    entropy -= select(value * log(value), 0.0, value == 0.0);
    uses[at + e] = 0.0;
  }
  uses[at + params.E] = select(0.0, entropy, counts);
  if (!counts) { return; }
  for (var j = 0u; j < params.k; j++) { uses[at + chosen[choices + j]] = 1.0; }
}
