// partials[first + group] = (Σ (g / scale)², number of g that are not finite) over the workgroup's
// elements. Finiteness is read from the bits: a compiler may assume that there is no NaN, and fold
// `x != x`.

#include "scaler.wgsl"

struct Params {
  count: u32,
  first: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scaler: Scaler;
@group(0) @binding(2) var<storage, read> gradients: array<f32>; // (count)
@group(0) @binding(3) var<storage, read_write> partials: array<vec2f>;

var<workgroup> partial: array<vec2f, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) slot: u32,
) {
  let unscale = 1.0 / scaler.scale;
  var sums = vec2f();
  for (var i = group.x * 64 + slot; i < params.count; i += groups.x * 64) {
    let gradient = gradients[i];
    let finite = (bitcast<u32>(gradient) & 0x7f800000u) != 0x7f800000u;
    let g = select(0.0, gradient * unscale, finite);
    sums += vec2f(g * g, select(1.0, 0.0, finite));
  }
  partial[slot] = sums;
  for (var half = 32u; half > 0u; half /= 2u) {
    workgroupBarrier(); // the other half has written what is read here
    if (slot < half) { partial[slot] += partial[slot + half]; }
  }
  if (slot == 0u) { partials[params.first + group.x] = partial[0]; }
}
