// A router's choice: the k experts of each row with the largest probabilities
// p (rows, E) = softmax(logits), and their weights,
//
//   weights (rows, k) = p of the chosen [/ their sum]
//
// Of equal probabilities the lower expert is chosen. Constants: NORMALISED (0 or 1).

struct Params { rows: u32, E: u32, k: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // (rows, E)
@group(0) @binding(2) var<storage, read_write> p: array<f32>; // (rows, E)
@group(0) @binding(3) var<storage, read_write> chosen: array<u32>; // (rows, k)
@group(0) @binding(4) var<storage, read_write> weights: array<f32>; // (rows, k)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.rows) { return; }
  let first = row * params.E;
  var largest = logits[first];
  for (var e = 1u; e < params.E; e++) { largest = max(largest, logits[first + e]); }
  var total = 0.0;
  for (var e = 0u; e < params.E; e++) { total += exp(logits[first + e] - largest); }
  for (var e = 0u; e < params.E; e++) { p[first + e] = exp(logits[first + e] - largest) / total; }
  var sum = 0.0;
  var last_p = 2.0; // above any probability
  var last = 0u;
  for (var j = 0u; j < params.k; j++) {
    // The largest of those that come after the one chosen last.
    var best_p = -1.0;
    var best = 0u; // where no number is comparable, an expert that exists
    for (var e = 0u; e < params.E; e++) {
      let value = p[first + e];
      let follows = value < last_p || (value == last_p && e > last);
      if (follows && value > best_p) {
        best_p = value;
        best = e;
      }
    }
    chosen[row * params.k + j] = best;
    weights[row * params.k + j] = best_p;
    sum += best_p;
    last_p = best_p;
    last = best;
  }
  #if NORMALISED
  for (var j = 0u; j < params.k; j++) { weights[row * params.k + j] /= sum; }
  #endif
}
