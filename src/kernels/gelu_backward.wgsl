// Differentiates y = ½ x (1 + tanh u), u = √(2/π) (x + 0.044715 x³), of gelu.wgsl:
// dx = dy · (½ (1 + tanh u) + ½ x (1 − tanh² u) u').
// Aliases: scalar.

struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (count)
@group(0) @binding(2) var<storage, read> dy: array<scalar>; // (count)
@group(0) @binding(3) var<storage, read_write> dx: array<scalar>; // (count)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    // Beyond ±10 the slope is 1 or 0, and x² would multiply what little tanh is off from ±1.
    let v = clamp(f32(x[i]), -10.0, 10.0);
    let t = tanh(clamp(0.7978845608028654 * (v + 0.044715 * v * v * v), -10.0, 10.0));
    let slope = 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * v * v);
    dx[i] = scalar(f32(dy[i]) * (0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * slope));
  }
}
