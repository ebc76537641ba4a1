// Logits out of cache entries that hold the whole vocabulary: f16 values in its order, two to a u32
// (see topk.ts).

struct Params {
  count: u32,
  V: u32,
  entry_size: u32, // in u32
  entry_offset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> entries: array<u32>; // (rows, entry_size)
@group(0) @binding(2) var<storage, read_write> logits: array<f32>; // (rows, V), count elements

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += groups.x * 64u) {
    let v = i % params.V;
    let entry = params.entry_offset + (i / params.V) * params.entry_size;
    let pair = unpack2x16float(entries[entry + v / 2u]);
    logits[i] = select(pair.x, pair.y, v % 2u == 1u);
  }
}
