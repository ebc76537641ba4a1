// Cross-entropy of logits with targets, and its gradient in the logits' place, one row (token) at a
// time: ce = (1 − e)(lse − z_t) + e (lse − mean z) + l · lse², q = softmax(z), dz = ((1 + 2 l ·
// lse) q − (1 − e) 1_t − e / V) · loss_scale / tokens; e label smoothing, l the z-loss. A row whose
// target is ignored gives 0 and a gradient of 0. Logits and targets are read where they lie: row r
// is (r / T, r % T). Constants: LANES (threads a row), GRADIENT (0 or 1: leave the logits alone).

#include "rows.wgsl"

struct Params {
  first: u32, rows: u32, T: u32, V: u32, ignore: i32, label_smoothing: f32, z_loss: f32,
  student_first: u32, student_offset: u32, student_b: u32, student_t: u32, student_v: u32,
  target_offset: u32, target_b: u32, target_t: u32,
}
struct Step { learning_rate: f32, temperature: f32, alpha: f32, inverse_tokens: f32 }
struct Scaler { scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> scaler: Scaler;
@group(0) @binding(3) var<storage, read_write> student: array<f32>; // (B, T, V) through strides
@group(0) @binding(4) var<storage, read> targets: array<i32>; // (B, T) through strides
@group(0) @binding(5) var<storage, read_write> per_token: array<vec2f>; // (B·T): ce, 0

const LOWEST = -3.4e38;
alias row_value = vec2f;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let row = params.first + min(local, params.rows - 1);
  let own = row - params.student_first;
  let z0 = params.student_offset + (own / params.T) * params.student_b + (own % params.T) * params.student_t;
  let target_token = targets[params.target_offset + (row / params.T) * params.target_b + (row % params.T) * params.target_t];
  let counts = target_token != params.ignore;
  let t = select(0u, u32(target_token), counts);

  var largest = LOWEST;
  for (var v = lane; v < params.V; v += LANES) { largest = max(largest, student[z0 + v * params.student_v]); }
  largest = row_max(vec2f(largest), slot, lane).x;
  var sums = vec2f(); // Σ exp z, Σ z, both less the largest
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v] - largest;
    sums += vec2f(exp(z), z);
  }
  sums = row_sum(sums, slot, lane);
  let log_sum = log(sums.x);
  let lse = largest + log_sum;
  if (!valid) { return; }
  // Every read of the row lies before row_sum's barriers but this one, which the thread makes that
  // overwrites the target's logit.
  if (lane == t % LANES) {
    let hard = log_sum - (student[z0 + t * params.student_v] - largest);
    let ce = mix(hard, log_sum - sums.y / f32(params.V), params.label_smoothing) + params.z_loss * lse * lse;
    per_token[row] = vec2f(select(0.0, ce, counts), 0.0);
  }
  if (GRADIENT == 1u) {
    let weight = select(0.0, scaler.scale * step.inverse_tokens, counts);
    for (var v = lane; v < params.V; v += LANES) {
      let at = z0 + v * params.student_v;
      let q = exp(student[at] - largest - log_sum);
      let wanted = select(0.0, 1.0 - params.label_smoothing, v == t) + params.label_smoothing / f32(params.V);
      student[at] = weight * ((1.0 + 2.0 * params.z_loss * lse) * q - wanted);
    }
  }
}
