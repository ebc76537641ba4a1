// Counts the rows that each expert of a layer gets: loads (E) += the sizes of their runs in the
// sorted order (expert_order.wgsl). Rows of padding count, as they do in the router's losses.

struct Params { E: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> starts: array<u32>; // (E + 1)
@group(0) @binding(2) var<storage, read_write> loads: array<u32>; // (E), added to

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let e = id.x;
  if (e < params.E) { loads[e] += starts[e + 1] - starts[e]; }
}
