// target = source, element by element, each through up to four strides: what `.contiguous()` and a
// copying `.reshape()` do, and what their backward does in the other direction. Aliases:
// source_type, target_type.

struct Params {
  count: u32, size1: u32, size2: u32, size3: u32,
  source_offset: u32, source0: u32, source1: u32, source2: u32, source3: u32,
  target_offset: u32, target0: u32, target1: u32, target2: u32, target3: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<source_type>;
@group(0) @binding(2) var<storage, read_write> destination: array<target_type>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    let i3 = i % params.size3;
    let rest3 = i / params.size3;
    let i2 = rest3 % params.size2;
    let rest2 = rest3 / params.size2;
    let i1 = rest2 % params.size1;
    let i0 = rest2 / params.size1;
    let at = params.source_offset + i0 * params.source0 + i1 * params.source1 + i2 * params.source2 + i3 * params.source3;
    let to = params.target_offset + i0 * params.target0 + i1 * params.target1 + i2 * params.target2 + i3 * params.target3;
    destination[to] = target_type(source[at]);
  }
}
