// Balances a router without a loss: the bias by which experts are chosen moves towards those that
// got fewer rows than the mean in this step.
//
//   bias_e = bias_e + rate · sign(mean load − load_e)
//
// Whole numbers are compared, so equal shares are exactly equal. Does nothing if the scaler has
// rejected the step. Aliases: scalar (of the copy). Constants: COPY (0: the model computes with the
// master weights themselves).

#include "scaler.wgsl"

struct Params { E: u32, rate: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scaler: Scaler;
@group(0) @binding(2) var<storage, read> loads: array<u32>; // (E)
@group(0) @binding(3) var<storage, read_write> bias: array<f32>; // (E): master weights
#if COPY
@group(0) @binding(4) var<storage, read_write> weights: array<scalar>; // (E): the copy
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let e = id.x;
  if (e >= params.E || scaler.apply == 0u) { return; }
  var all = 0u;
  for (var other = 0u; other < params.E; other++) { all += loads[other]; }
  let lack = i32(all) - i32(params.E * loads[e]); // E · (mean load − load_e)
  bias[e] += params.rate * f32(sign(lack));
#if COPY
  weights[e] = scalar(bias[e]);
#endif
}
