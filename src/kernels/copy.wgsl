// target (contiguous) = source, read through up to four strides: what `.contiguous()` and a copying `.reshape()` do.
// Aliases: source_type, target_type.

struct Params { count: u32, offset: u32, size1: u32, size2: u32, size3: u32, stride0: u32, stride1: u32, stride2: u32, stride3: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<source_type>;
@group(0) @binding(2) var<storage, read_write> destination: array<target_type>; // (count)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    let i3 = i % params.size3;
    let rest3 = i / params.size3;
    let i2 = rest3 % params.size2;
    let rest2 = rest3 / params.size2;
    let i1 = rest2 % params.size1;
    let i0 = rest2 / params.size1;
    let at = params.offset + i0 * params.stride0 + i1 * params.stride1 + i2 * params.stride2 + i3 * params.stride3;
    destination[i] = target_type(source[at]);
  }
}
