// Decides about a step on the GPU, so that nothing is read back: the gradient's norm, whether every
// gradient is finite, the factor for all gradients (1 / scale, and clipping), Adam's bias
// corrections, and the next loss scale. The scale is halved after a bad step, but not below 1, and
// doubled after `interval` good ones. A bad step changes nothing else.

#include "step.wgsl"
#include "scaler.wgsl"

struct Params {
  count: u32, // partial sums
  dynamic: u32, // 1 if the scale adapts
  interval: u32,
  max_norm: f32, // 0: no clipping
  beta1: f32,
  beta2: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> partials: array<vec2f>; // (count): see gradient_norm.wgsl
@group(0) @binding(3) var<storage, read_write> scaler: Scaler;

@compute @workgroup_size(1)
fn main() {
  var sums = vec2f();
  for (var i = 0u; i < params.count; i++) { sums += partials[i]; }
  let norm = sqrt(sums.x);
  // The sum of squares can overflow even if every gradient is finite.
  let finite = sums.y == 0.0 && (bitcast<u32>(norm) & 0x7f800000u) != 0x7f800000u;
  scaler.norm = norm;
  scaler.used_scale = scaler.scale;
  var clip = 1.0;
  if (params.max_norm > 0.0) { clip = min(1.0, params.max_norm / (norm + 1e-6)); }
  scaler.factor = clip / scaler.scale;
  // A batch without a valid target is not a step, and says nothing about the scale.
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
        // A scale of infinity could never be halved back to a number.
        if (scaler.scale < 1.7e38) { scaler.scale *= 2.0; }
        scaler.good_steps = 0u;
      }
    }
  }
}
