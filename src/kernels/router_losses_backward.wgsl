// Backward of router_losses.wgsl for the logits of one layer's router, times the loss scale and the
// losses' weights. The choice has no gradient, so f is a constant:
//
//   dbalance/dlogits = E / M · p · (f − Σ f · p)
//   dz/dlogits = 2 / M · lse · p
//   dkd/dlogits = 1 / M · (p − t)
//
// Constants: TAUGHT (0 or 1: whether there is a teacher's router, with t = softmax(teacher)).

#include "router_softmax.wgsl"
#include "step.wgsl"
#include "scaler.wgsl"

struct Params { rows: u32, E: u32, M: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> scaler: Scaler;
@group(0) @binding(3) var<storage, read> logits: array<f32>; // (rows, E)
@group(0) @binding(4) var<storage, read> statistics: array<f32>; // (2·E + 2): see router_losses
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>; // (rows, E), added to
#if TAUGHT
@group(0) @binding(6) var<storage, read> teacher: array<f32>; // (rows, E)
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.rows) { return; }
  let E = params.E;
  let first = row * E;
  let softmax = softmax_at(first);
  var along = 0.0; // Σ f · p
  for (var e = 0u; e < E; e++) {
    along += statistics[E + e] / params.M * exp(logits[first + e] - softmax.largest);
  }
  along /= softmax.total;
  let balance = scaler.scale * step.router_balance * f32(E) / params.M;
  let z = scaler.scale * step.router_z * 2.0 / params.M * log_sum_exp(softmax);
  for (var e = 0u; e < E; e++) {
    let p = probability(logits[first + e], softmax);
    dlogits[first + e] += p * (balance * (statistics[E + e] / params.M - along) + z);
  }
  #if TAUGHT
  let kd = scaler.scale * step.router_kd / params.M;
  let taught = teacher_softmax_at(first);
  for (var e = 0u; e < E; e++) {
    let p = probability(logits[first + e], softmax);
    dlogits[first + e] += kd * (p - probability(teacher[first + e], taught));
  }
  #endif
}
