// AdamW with decoupled weight decay over a range of the arenas, which also writes the copy of the
// weights that the model computes with:
//
//   m = β₁ m + (1 − β₁) g, v = β₂ v + (1 − β₂) g²
//   w = w (1 − lr · decay) − lr · m̂ / (√v̂ + ε)
//
// Does nothing if the scaler has rejected the step. Aliases: value (f32, or vec4 of it), scalar (of
// the copy, likewise). Constants: COPY (0: the model computes with the master weights themselves).

#include "step.wgsl"
#include "scaler.wgsl"

struct Params {
  count: u32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  decay: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> scaler: Scaler;
@group(0) @binding(3) var<storage, read> gradients: array<value>; // (count)
@group(0) @binding(4) var<storage, read_write> master: array<value>; // (count)
@group(0) @binding(5) var<storage, read_write> mean: array<value>; // (count): m
@group(0) @binding(6) var<storage, read_write> square: array<value>; // (count): v
#if COPY
@group(0) @binding(7) var<storage, read_write> weights: array<scalar>; // (count)
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (scaler.apply == 0u) { return; }
  let correction1 = 1.0 - scaler.power1;
  let correction2 = 1.0 - scaler.power2;
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    let g = gradients[i] * scaler.factor;
    let m = params.beta1 * mean[i] + (1.0 - params.beta1) * g;
    let v = params.beta2 * square[i] + (1.0 - params.beta2) * g * g;
    mean[i] = m;
    square[i] = v;
    let update = (m / correction1) / (sqrt(v / correction2) + params.epsilon);
    let w = master[i] * (1.0 - step.learning_rate * params.decay) - step.learning_rate * update;
    master[i] = w;
#if COPY
    weights[i] = scalar(w);
#endif
  }
}
