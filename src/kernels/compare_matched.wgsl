// Compares the tokens of the same text in two vocabularies, one group of tokens at a time, by a
// generalised JSD. With a and b of compare_ranks.wgsl, over pairs (v, matched[v]),
//
//     q = max(a_v, LEAST), p = max(b_v, LEAST), m = β p + (1 − β) q
//     M = Σ β p (ln p − ln m) + (1 − β) q (ln q − ln m), da_v = (1 − β) ln(q / m) if a_v ≥ LEAST
//
// Adds w M and S = Σ w da a to those of the ranks, and overwrites da where there is a pair.
// Constants: LANES (threads a row).

#include "logits.wgsl"
#include "step.wgsl"
#include "groups.wgsl"
#include "probability_key.wgsl"

struct Params {
  first: u32, // row of the B·T that the chunk starts with
  rows: u32,
  V: u32,
  W: u32,
  beta: f32,
  weight: f32, // w
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> spans: array<vec4u>; // (B·T)
@group(0) @binding(3) var<storage, read> likelihood: array<f32>; // (B·T) ln q of each row's token
@group(0) @binding(4) var<storage, read> teacher_likelihood: array<f32>; // (B·T)
@group(0) @binding(5) var<storage, read> student: array<f32>; // (rows, V) logits
@group(0) @binding(6) var<storage, read> teacher: array<f32>; // (rows, W) logits
@group(0) @binding(7) var<storage, read> matched: array<u32>; // (V) the teacher's, or UNMATCHED
@group(0) @binding(8) var<storage, read_write> da: array<f32>; // (rows, V)
@group(0) @binding(9) var<storage, read_write> measured: array<vec2f>; // (B·T) loss, S

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
  let inverse_temperature = 1.0 / step.temperature;

  var largest = vec2f(LOWEST); // z, y
  for (var v = lane; v < params.V; v += LANES) { largest.x = max(largest.x, student[z0 + v]); }
  for (var v = lane; v < params.W; v += LANES) { largest.y = max(largest.y, teacher[y0 + v]); }
  largest = row_max(largest, slot, lane);
  var sums = vec2f(); // Σ exp z/T, Σ exp y/T; z and y minus their largest
  for (var block = lane; block < max(params.V, params.W); block += BLOCK) {
    var block_sums = vec2f();
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      block_sums.x += exp((student[z0 + v] - largest.x) * inverse_temperature);
    }
    for (var v = block; v < min(block + BLOCK, params.W); v += LANES) {
      block_sums.y += exp((teacher[y0 + v] - largest.y) * inverse_temperature);
    }
    sums += block_sums;
  }
  let logs = log(row_sum(sums, slot, lane));
  var terms = vec2f(); // w M, S
  for (var block = lane; block < params.V; block += BLOCK) {
    var block_terms = vec2f();
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      let other = matched[v];
      if (other == UNMATCHED) { continue; }
      let a = c.x * exp((student[z0 + v] - largest.x) * inverse_temperature - logs.x);
      let b = c.y * exp((teacher[y0 + other] - largest.y) * inverse_temperature - logs.y);
      let q = max(a, LEAST);
      let p = max(b, LEAST);
      let m = mix(q, p, params.beta);
      let jsd = params.beta * p * log(p / m) + (1.0 - params.beta) * q * log(q / m);
      let g = select(0.0, params.weight * (1.0 - params.beta) * log(q / m), a >= LEAST);
      block_terms += vec2f(params.weight * jsd, g * a);
      if (valid) { da[z0 + v] = g; }
    }
    terms += block_terms;
  }
  terms = row_sum(terms, slot, lane);
  if (!valid || lane != 0u || !compared) { return; }
  measured[row] += terms;
}
