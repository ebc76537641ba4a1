// How far AdamW's last step moved the weights, from its state after that step:
//
//   Δw = −lr (û + decay · w′), with û = m̂ / (√v̂ + ε) and the weight before it,
//   w′ = (w + lr û) / (1 − lr · decay)
//
// partials[first + group] = (Σ Δw², Σ w²) over the workgroup's elements; Δw is 0 after a step that
// was not applied.

#include "step.wgsl"
#include "scaler.wgsl"

struct Params {
  count: u32,
  first: u32,
  epsilon: f32,
  decay: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> scaler: Scaler;
@group(0) @binding(3) var<storage, read> master: array<f32>; // (count)
@group(0) @binding(4) var<storage, read> mean: array<f32>; // (count): m
@group(0) @binding(5) var<storage, read> square: array<f32>; // (count): v
@group(0) @binding(6) var<storage, read_write> partials: array<vec2f>;

var<workgroup> partial: array<vec2f, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) slot: u32,
) {
  let correction1 = 1.0 - scaler.power1;
  let correction2 = 1.0 - scaler.power2;
  let rate = select(0.0, step.learning_rate, scaler.apply == 1u);
  var sums = vec2f();
  for (var i = group.x * 64 + slot; i < params.count; i += groups.x * 64) {
    let w = master[i];
    var u = 0.0;
    if (rate > 0.0) {
      u = (mean[i] / correction1) / (sqrt(square[i] / correction2) + params.epsilon);
    }
    let before = (w + rate * u) / (1.0 - rate * params.decay);
    let moved = rate * (u + params.decay * before);
    sums += vec2f(moved * moved, w * w);
  }
  partial[slot] = sums;
  for (var half = 32u; half > 0u; half /= 2u) {
    workgroupBarrier(); // the other half has written what is read here
    if (slot < half) { partial[slot] += partial[slot + half]; }
  }
  if (slot == 0u) { partials[params.first + group.x] = partial[0]; }
}
