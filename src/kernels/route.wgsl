// A router's choice: the k experts of each row with the largest probabilities
// p (rows, E) = softmax(logits), or the sigmoid of each, and their weights,
//
//   weights (rows, k) = scale · p of the chosen [/ their sum]
//
// BIASED: those with the largest p + bias are chosen instead. Of equal ones the lower expert is.
// Aliases: bias_type, of the bias. Constants, 0 or 1: NORMALISED, SIGMOID, BIASED.

#include "router_softmax.wgsl"

struct Params { rows: u32, E: u32, k: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // (rows, E)
@group(0) @binding(2) var<storage, read_write> p: array<f32>; // (rows, E)
@group(0) @binding(3) var<storage, read_write> chosen: array<u32>; // (rows, k)
@group(0) @binding(4) var<storage, read_write> weights: array<f32>; // (rows, k)
#if BIASED
@group(0) @binding(5) var<storage, read> bias: array<bias_type>; // (E)
#endif

const LARGEST = 3.4e38; // of f32, nearly

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.rows) { return; }
  let first = row * params.E;
  #if SIGMOID
  for (var e = 0u; e < params.E; e++) { p[first + e] = 1.0 / (1.0 + exp(-logits[first + e])); }
  #else
  let softmax = softmax_at(first);
  for (var e = 0u; e < params.E; e++) { p[first + e] = probability(logits[first + e], softmax); }
  #endif
  var sum = 1.0; // what the weights are divided by
  #if NORMALISED
  sum = 0.0;
  #endif
  var last_value = LARGEST;
  var last = 0u;
  for (var j = 0u; j < params.k; j++) {
    // The largest of those that come after the one chosen last.
    var best_value = -LARGEST;
    var best = 0u; // where no number is comparable, an expert that exists
    for (var e = 0u; e < params.E; e++) {
      var value = p[first + e];
      #if BIASED
      value += f32(bias[e]);
      #endif
      let follows = value < last_value || (value == last_value && e > last);
      if (follows && value > best_value) {
        best_value = value;
        best = e;
      }
    }
    chosen[row * params.k + j] = best;
    #if NORMALISED
    sum += p[first + best];
    #endif
    last_value = best_value;
    last = best;
  }
  for (var j = 0u; j < params.k; j++) {
    let at = row * params.k + j;
    weights[at] = params.scale * (p[first + chosen[at]] / sum);
  }
}
