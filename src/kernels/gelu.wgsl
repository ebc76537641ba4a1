// y = gelu(x) = ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), GPT-2's "gelu_new".
// Aliases: scalar.

struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (count)
@group(0) @binding(2) var<storage, read_write> y: array<scalar>; // (count)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    let v = f32(x[i]);
    // tanh of a large argument overflows in some compilers; beyond ±10 it is ±1 in f32.
    let u = clamp(0.7978845608028654 * (v + 0.044715 * v * v * v), -10.0, 10.0);
    y[i] = scalar(0.5 * v * (1.0 + tanh(u)));
  }
}
