// What the losses of a router need of each row (token): p = softmax(logits), the row's choices, and
// lse = ln Σ exp(logits).
//
//   terms (rows, 2·E + 2): p; for each expert 1 if the row chose it, else 0; lse²; and the
//     divergence from the teacher's router, Σ t (ln t − ln p) with t = softmax(teacher), or 0
//
// Constants: TAUGHT (0 or 1: whether there is a teacher's router).

#include "router_softmax.wgsl"

struct Params { rows: u32, E: u32, k: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // (rows, E)
@group(0) @binding(2) var<storage, read> chosen: array<u32>; // (rows, k)
@group(0) @binding(3) var<storage, read_write> terms: array<f32>; // (rows, 2·E + 2)
#if TAUGHT
@group(0) @binding(4) var<storage, read> teacher: array<f32>; // (rows, E)
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.rows) { return; }
  let E = params.E;
  let first = row * E;
  let at = row * (2 * E + 2);
  let softmax = softmax_at(first);
  for (var e = 0u; e < E; e++) {
    terms[at + e] = probability(logits[first + e], softmax);
    terms[at + E + e] = 0.0;
  }
  for (var j = 0u; j < params.k; j++) { terms[at + E + chosen[row * params.k + j]] = 1.0; }
  let lse = log_sum_exp(softmax);
  terms[at + 2 * E] = lse * lse;
  var divergence = 0.0;
  #if TAUGHT
  let teacher_lse = log_sum_exp(teacher_softmax_at(first));
  for (var e = 0u; e < E; e++) {
    let log_t = teacher[first + e] - teacher_lse;
    divergence += exp(log_t) * (log_t - (logits[first + e] - lse));
  }
  #endif
  terms[at + 2 * E + 1] = divergence;
}
