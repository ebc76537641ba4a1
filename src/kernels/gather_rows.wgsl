// Rows of a matrix (all, N) by their numbers: rows[i] = source[spans[first + i].w], the last row of
// the group that the student's row is in. A row without a group takes row 0, and nobody reads it.
// Aliases: source_type, row_type.

#include "groups.wgsl"

struct Params {
  first: u32, // of `spans`
  count: u32, // elements to write
  N: u32,
  offset: u32,
  row_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<source_type>; // (all, N) through a stride
@group(0) @binding(2) var<storage, read> spans: array<vec4u>; // (B·T)
@group(0) @binding(3) var<storage, read_write> rows: array<row_type>; // (rows, N)

@compute @workgroup_size(64)
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  for (var i = id.x; i < params.count; i += 64u * groups.x) {
    let span = spans[params.first + i / params.N];
    let row = select(span.w, 0u, span.x == NO_GROUP);
    rows[i] = row_type(source[params.offset + row * params.row_stride + i % params.N]);
  }
}
