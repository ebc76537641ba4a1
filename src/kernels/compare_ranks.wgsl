// Compares two models whose vocabularies differ by rank, one group of tokens at a time: see
// reference/aligned.ts for formulas and sources. A row of the student's that is the last of its
// group has
//
//     a (V) = c q, q = softmax(z / T), c = the probabilities of the group's tokens before it
//
// and the teacher's b (W) the same way. With both sorted (rank.wgsl),
//
//     R = Σ_k |a_(k) − b_(k)|, da_v = sign(a_v − b of the same rank)
//
// Leaves w R, w da, and S = Σ w da a, from which aligned_gradient.wgsl makes the gradient. Other
// rows give 0, and their da is not read. Constants: LANES (threads a row).

#include "logits.wgsl"
#include "groups.wgsl"
#include "probability_key.wgsl"

struct Params {
  first: u32, // row of the B·T that the chunk starts with
  rows: u32,
  V: u32,
  W: u32,
  weight: f32, // w
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> spans: array<vec4u>; // (B·T)
@group(0) @binding(2) var<storage, read> likelihood: array<f32>; // (B·T) ln q of each row's token
@group(0) @binding(3) var<storage, read> teacher_likelihood: array<f32>; // (B·T)
@group(0) @binding(4) var<storage, read> keys: array<u32>; // (2, rows, V) sorted
@group(0) @binding(5) var<storage, read> ids: array<u32>; // (2, rows, V) their tokens
@group(0) @binding(6) var<storage, read> teacher_keys: array<u32>; // (2, rows, W) sorted
@group(0) @binding(7) var<storage, read_write> da: array<f32>; // (rows, V)
@group(0) @binding(8) var<storage, read_write> measured: array<vec2f>; // (B·T) loss, S

alias row_value = vec2f;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let at = min(local, params.rows - 1u);
  let row = params.first + at;
  let span = spans[row];
  let compared = is_last_of(span, row);
  let c = chances(span, compared);
  let z0 = at * params.V;
  let y0 = at * params.W;
  let most = max(params.V, params.W);
  var terms = vec2f(); // w R, S
  for (var block = lane; block < most; block += BLOCK) {
    var block_terms = vec2f();
    for (var k = block; k < min(block + BLOCK, most); k += LANES) {
      var a = 0.0;
      var b = 0.0;
      if (k < params.V) { a = c.x * probability_of(keys[z0 + k]); }
      if (k < params.W) { b = c.y * probability_of(teacher_keys[y0 + k]); }
      let g = params.weight * sign(a - b);
      block_terms += vec2f(params.weight * abs(a - b), g * a);
      if (k < params.V && valid) { da[z0 + ids[z0 + k]] = g; }
    }
    terms += block_terms;
  }
  terms = row_sum(terms, slot, lane);
  if (!valid || lane != 0u) { return; }
  measured[row] = select(vec2f(), terms, compared);
}
