// SwiGLU: y (rows, F) = silu(gate) · up, a row of x being gate | up, with silu(g) = g / (1 + e^−g).
// Aliases: scalar.

#include "silu.wgsl"

struct Params { count: u32, F: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, 2 F)
@group(0) @binding(2) var<storage, read_write> y: array<scalar>; // (rows, F)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    let at = i / params.F * 2 * params.F + i % params.F;
    let gate = f32(x[at]);
    y[i] = scalar(gate * sigmoid(gate) * f32(x[at + params.F]));
  }
}
