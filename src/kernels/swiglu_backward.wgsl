// Backward of swiglu.wgsl. For y = gate · s · up, s = 1 / (1 + e^−gate):
//
//   dgate = dy · up · s · (1 + gate · (1 − s)),  dup = dy · gate · s
//
// Aliases: scalar.

#include "silu.wgsl"

struct Params { count: u32, F: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, 2 F): gate | up
@group(0) @binding(2) var<storage, read> dy: array<scalar>; // (rows, F)
@group(0) @binding(3) var<storage, read_write> dx: array<scalar>; // (rows, 2 F): dgate | dup

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    let at = i / params.F * 2 * params.F + i % params.F;
    let gate = f32(x[at]);
    let s = sigmoid(gate);
    let d = f32(dy[i]);
    dx[at] = scalar(d * f32(x[at + params.F]) * s * (1.0 + gate * (1.0 - s)));
    dx[at + params.F] = scalar(d * gate * s);
  }
}
