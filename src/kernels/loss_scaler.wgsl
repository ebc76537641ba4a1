// Decides a step on the GPU, so that nothing is read back: the gradient's norm, whether all of it
// is finite, what every gradient is multiplied by (1/scale and clipping), Adam's bias corrections,
// and the next loss scale. The scale halves after a bad step, never below 1, and doubles after
// `interval` good ones. A bad step changes nothing else.

struct Params { count: u32, dynamic: u32, interval: u32, max_norm: f32, beta1: f32, beta2: f32 }
struct Step { learning_rate: f32, temperature: f32, alpha: f32, inverse_tokens: f32 }
struct Scaler {
  scale: f32, // of the next step; the loss kernels multiply by it
  good_steps: u32, // since the scale last changed
  applied: u32, // optimiser steps done
  skipped: u32,
  apply: u32, // 1 if the optimiser may apply this step
  factor: f32, // what it multiplies gradients by
  power1: f32, // beta1 ^ applied
  power2: f32, // beta2 ^ applied
  norm: f32, // of the gradient, unscaled, before clipping
  used_scale: f32, // the scale that this step ran with
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> partials: array<vec2f>; // (count)
@group(0) @binding(3) var<storage, read_write> scaler: Scaler;

@compute @workgroup_size(1)
fn main() {
  var sums = vec2f();
  for (var i = 0u; i < params.count; i++) { sums += partials[i]; }
  let norm = sqrt(sums.x);
  // The sum of squares can overflow where no element did.
  let finite = sums.y == 0.0 && (bitcast<u32>(norm) & 0x7f800000u) != 0x7f800000u;
  scaler.norm = norm;
  scaler.used_scale = scaler.scale;
  var clip = 1.0;
  if (params.max_norm > 0.0) { clip = min(1.0, params.max_norm / (norm + 1e-6)); }
  scaler.factor = clip / scaler.scale;
  // A step without a valid target is no step; it says nothing about the scale either.
  let valid = step.inverse_tokens > 0.0;
  scaler.apply = select(0u, 1u, finite && valid);
  if (scaler.apply == 1u) {
    scaler.applied += 1u;
    scaler.power1 *= params.beta1;
    scaler.power2 *= params.beta2;
  } else {
    scaler.skipped += 1u;
  }
  if (params.dynamic == 1u && valid) {
    if (!finite) {
      scaler.scale = max(1.0, scaler.scale * 0.5);
      scaler.good_steps = 0u;
    } else {
      scaler.good_steps += 1u;
      if (scaler.good_steps == params.interval) {
        // Twice that would be infinite, and no halving brings a scale back from there.
        if (scaler.scale < 1.7e38) { scaler.scale *= 2.0; }
        scaler.good_steps = 0u;
      }
    }
  }
}
