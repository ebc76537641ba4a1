// Causal self-attention of one new token. The keys and values of the tokens before it are kept:
//
//   out = softmax(s) · v, s_j = q · k_j / √D, position − window < j ≤ position
//
// for each head, which is the last row of attention.wgsl. qkv holds the new token's q | k | v; its
// k and v are added to the kept ones. NH / NKV query heads in a row share a head of keys and
// values. A query head's LANES threads share its keys: each makes an online softmax of every
// LANES-th one, and at the end their sums are added up.
//
// Aliases: scalar. Constants: HEAD = D / 4, LANES (threads a query head).

#include "rows.wgsl"

struct Params {
  NH: u32,
  NKV: u32,
  scale: f32,
  window: u32, // keys that the token sees, its own included
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<scalar>>; // (NH + 2 NKV, HEAD)
@group(0) @binding(2) var<storage, read> position: array<u32>; // (1)
@group(0) @binding(3) var<storage, read_write> kept: array<vec4<scalar>>; // (T, 2 NKV, HEAD)
@group(0) @binding(4) var<storage, read_write> out: array<vec4<scalar>>; // (NH, HEAD)

alias row_value = vec4f;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let h = group.x * ROWS + slot / LANES;
  let head = min(h, params.NH - 1);
  let own = position[0];
  let step = 2 * params.NKV * HEAD; // from one kept position to the next
  let to_value = params.NKV * HEAD; // from a key to its value
  let q = head * HEAD;
  let k_head = head * params.NKV / params.NH * HEAD;
  let own_k = params.NH * HEAD + k_head;
  var s = 0.0;
  for (var i = 0u; i < HEAD; i++) { s += dot(vec4f(qkv[q + i]), vec4f(qkv[own_k + i])); }
  // The first thread begins with the token's own key, the others with none.
  let first = lane == 0u;
  var largest = select(-3.4e38, s * params.scale, first);
  var total = f32(first);
  var sum: array<vec4f, HEAD>;
  for (var i = 0u; i < HEAD; i++) { sum[i] = f32(first) * vec4f(qkv[own_k + to_value + i]); }
  let seen = min(own + 1, params.window);
  for (var j = own + 1 - seen + lane; j < own; j += LANES) {
    let k = j * step + k_head;
    s = 0.0;
    for (var i = 0u; i < HEAD; i++) { s += dot(vec4f(qkv[q + i]), vec4f(kept[k + i])); }
    s *= params.scale;
    let before = largest;
    largest = max(largest, s);
    let p = exp(s - largest);
    let rescale = exp(before - largest);
    total = total * rescale + p;
    for (var i = 0u; i < HEAD; i++) {
      sum[i] = sum[i] * rescale + p * vec4f(kept[k + to_value + i]);
    }
  }
  let share = exp(largest - row_max(vec4f(largest), slot, lane).x);
  total = row_sum(vec4f(total * share), slot, lane).x;
  for (var i = 0u; i < HEAD; i++) {
    let value = row_sum(sum[i] * share, slot, lane);
    if (first && h < params.NH) { out[q + i] = vec4<scalar>(value / total); }
  }
  // The first of the query heads that share a key keeps it. No thread reads it there: own is not
  // less than own.
  if (!first || h >= params.NH || head % (params.NH / params.NKV) != 0u) { return; }
  let at = own * step + k_head;
  for (var i = 0u; i < HEAD; i++) {
    kept[at + i] = qkv[own_k + i];
    kept[at + to_value + i] = qkv[own_k + to_value + i];
  }
}
