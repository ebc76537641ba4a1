// destination = source, element by element, each through up to four strides. It makes a contiguous
// copy of a strided tensor, and, in the other direction, is the backward of such a copy. Aliases:
// source_type, destination_type.

struct Params {
  count: u32,
  size1: u32,
  size2: u32,
  size3: u32,
  source_offset: u32,
  source0: u32,
  source1: u32,
  source2: u32,
  source3: u32,
  destination_offset: u32,
  destination0: u32,
  destination1: u32,
  destination2: u32,
  destination3: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<source_type>;
@group(0) @binding(2) var<storage, read_write> destination: array<destination_type>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    let i3 = i % params.size3;
    let i012 = i / params.size3;
    let i2 = i012 % params.size2;
    let i01 = i012 / params.size2;
    let i1 = i01 % params.size1;
    let i0 = i01 / params.size1;
    let from_index = params.source_offset
      + i0 * params.source0 + i1 * params.source1 + i2 * params.source2 + i3 * params.source3;
    let to_index = params.destination_offset
      + i0 * params.destination0 + i1 * params.destination1
      + i2 * params.destination2 + i3 * params.destination3;
    destination[to_index] = destination_type(source[from_index]);
  }
}
