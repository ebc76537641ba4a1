// Logits out of cache entries that keep the whole vocabulary: values of f16, two to a word (see
// topk.ts), in its order.

struct Params { count: u32, V: u32, words: u32, entry_offset: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> entries: array<u32>; // (rows, words)
@group(0) @binding(2) var<storage, read_write> logits: array<f32>; // (rows, V), count elements

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += groups.x * 64u) {
    let v = i % params.V;
    let pair = unpack2x16float(entries[params.entry_offset + (i / params.V) * params.words + v / 2u]);
    logits[i] = select(pair.x, pair.y, v % 2u == 1u);
  }
}
