// What the losses of a router need of each row (token): p = softmax(logits), the row's choices, and
// lse = ln Σ exp(logits).
//
//   terms (rows, 2·E + 1): p; for each expert 1 if the row chose it, else 0; lse²

struct Params { rows: u32, E: u32, k: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // (rows, E)
@group(0) @binding(2) var<storage, read> chosen: array<u32>; // (rows, k)
@group(0) @binding(3) var<storage, read_write> terms: array<f32>; // (rows, 2·E + 1)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.rows) { return; }
  let E = params.E;
  let first = row * E;
  let at = row * (2 * E + 1);
  var largest = logits[first];
  for (var e = 1u; e < E; e++) { largest = max(largest, logits[first + e]); }
  var total = 0.0;
  for (var e = 0u; e < E; e++) { total += exp(logits[first + e] - largest); }
  for (var e = 0u; e < E; e++) {
    terms[at + e] = exp(logits[first + e] - largest) / total;
    terms[at + E + e] = 0.0;
  }
  for (var j = 0u; j < params.k; j++) { terms[at + E + chosen[row * params.k + j]] = 1.0; }
  let lse = largest + log(total);
  terms[at + 2 * E] = lse * lse;
}
