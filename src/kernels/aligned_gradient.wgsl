// The gradient of a loss by groups, with that of the cross-entropy, in place of the student's
// logits z (rows, V), and the cross-entropy itself. With c, q, da and S of compare_ranks.wgsl,
//
//     dz of a group's last row = q (c da − S) / T
//     dz of a row before it = S (1_token − q) / T, unless its token's probability is below LEAST
//     dz = (alpha · T² / groups · that + (1 − alpha) / tokens · dCE) · loss_scale
//
// S of a group is that of its last row, which an earlier dispatch has measured.
// Constants: LANES (threads a row).

#include "logits.wgsl"
#include "cross_entropy.wgsl"
#include "step.wgsl"
#include "scaler.wgsl"
#include "groups.wgsl"

struct Params {
  first: u32, // row of the B·T that the chunk starts with
  rows: u32,
  V: u32,
  ignore: i32,
  label_smoothing: f32,
  z_loss: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<uniform> inverse_groups: f32; // 1 / groups of the whole step
@group(0) @binding(3) var<storage, read> scaler: Scaler;
@group(0) @binding(4) var<storage, read> targets: array<i32>; // (B·T)
@group(0) @binding(5) var<storage, read> spans: array<vec4u>; // (B·T)
@group(0) @binding(6) var<storage, read> likelihood: array<f32>; // (B·T) ln q of each row's token
@group(0) @binding(7) var<storage, read> measured: array<vec2f>; // (B·T) loss, S
@group(0) @binding(8) var<storage, read> da: array<f32>; // (rows, V)
@group(0) @binding(9) var<storage, read_write> student: array<f32>; // (rows, V)
@group(0) @binding(10) var<storage, read_write> per_token: array<vec2f>; // (B·T): CE, loss

alias row_value = vec4f;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let at = min(local, params.rows - 1u);
  let row = params.first + at;
  let z0 = at * params.V;
  let target_token = targets[row];
  let counts = target_token != params.ignore;
  let t = select(0u, u32(target_token), counts);
  let inverse_temperature = 1.0 / step.temperature;

  var largest = LOWEST;
  for (var v = lane; v < params.V; v += LANES) { largest = max(largest, student[z0 + v]); }
  largest = row_max(vec4f(largest), slot, lane).x;
  var sums = vec4f(); // Σ exp z, Σ exp z/T, Σ z, lse − z_t; z minus its largest
  for (var block = lane; block < params.V; block += BLOCK) {
    var block_sums = vec4f();
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      let z = student[z0 + v] - largest;
      block_sums += vec4f(exp(z), exp(z * inverse_temperature), z, select(0.0, -z, v == t));
    }
    sums += block_sums;
  }
  sums = row_sum(sums, slot, lane);
  if (!valid) { return; }
  let logs = log(sums.xy);
  let lse = largest + logs.x;
  if (lane == 0u) {
    let ce = cross_entropy(sums.w + logs.x, logs.x, sums.z, lse);
    per_token[row] = vec2f(select(0.0, ce, counts), measured[row].x);
  }
  let span = spans[row];
  let compared = span.x != NO_GROUP;
  let is_last = is_last_of(span, row);
  var S = 0.0; // of the group; 0 for a row whose token is too unlikely to have a gradient
  var c = 1.0;
  if (is_last) {
    S = measured[row].y;
    for (var r = span.x; r < span.y; r++) { c *= max(exp(likelihood[r]), LEAST); }
  } else if (compared && exp(likelihood[row]) >= LEAST) {
    S = measured[span.y].y;
  }
  let soft = scaler.scale * inverse_groups * step.alpha * step.temperature;
  let hard = select(0.0, scaler.scale * step.inverse_tokens * (1.0 - step.alpha), counts);
  // A thread overwrites only logits that no other thread reads.
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v] - largest;
    let q = exp(z * inverse_temperature - logs.y);
    var kd = 0.0;
    if (is_last) {
      kd = q * (c * da[z0 + v] - S);
    } else if (compared) {
      kd = S * (select(0.0, 1.0, v == t) - q);
    }
    let dce = cross_entropy_gradient(exp(z - logs.x), v == t, lse);
    student[z0 + v] = soft * kd + hard * dce;
  }
}
