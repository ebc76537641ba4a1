// Rows in the order of their experts: y (rows · k, C) holds, at each place, the row whose choice
// stands there. Aliases: scalar.

struct Params { count: u32, C: u32, k: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, C)
@group(0) @binding(2) var<storage, read> order: array<u32>; // (rows · k)
@group(0) @binding(3) var<storage, read_write> y: array<scalar>; // (rows · k, C)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    y[i] = x[order[i / params.C] / params.k * params.C + i % params.C];
  }
}
