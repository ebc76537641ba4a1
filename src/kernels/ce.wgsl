// Cross-entropy with the targets (see cross_entropy.wgsl), and its gradient times loss_scale /
// tokens, one row (token) at a time. The gradient takes the place of the logits. A row whose target
// is ignored gives a loss of 0 and a gradient of 0. Logits and targets are read through their
// strides. Constants: LANES (threads a row), GRADIENT (0: leave the logits as they are).

#include "logits.wgsl"
#include "cross_entropy.wgsl"
#include "step.wgsl"
#include "scaler.wgsl"

struct Params {
  first: u32, // row of the B·T that this dispatch starts with
  rows: u32,
  T: u32,
  V: u32,
  ignore: i32,
  label_smoothing: f32,
  z_loss: f32,
  student_first: u32, // row of the B·T that `student` starts with
  student_offset: u32,
  student_b: u32,
  student_t: u32,
  student_v: u32,
  target_offset: u32,
  target_b: u32,
  target_t: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> scaler: Scaler;
@group(0) @binding(3) var<storage, read_write> student: array<f32>; // (B, T, V) through strides
@group(0) @binding(4) var<storage, read> targets: array<i32>; // (B, T) through strides
@group(0) @binding(5) var<storage, read_write> per_token: array<vec2f>; // (B·T): ce, 0

alias row_value = vec2f;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let row = params.first + min(local, params.rows - 1);
  let z0 = row_address(row - params.student_first, params.T,
    params.student_offset, params.student_b, params.student_t);
  let target_token = targets[
    row_address(row, params.T, params.target_offset, params.target_b, params.target_t)];
  let counts = target_token != params.ignore;
  let t = select(0u, u32(target_token), counts);

  var largest = LOWEST;
  for (var v = lane; v < params.V; v += LANES) {
    largest = max(largest, student[z0 + v * params.student_v]);
  }
  largest = row_max(vec2f(largest), slot, lane).x;
  var sums = vec2f(); // Σ exp z, Σ z; z minus the largest
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v] - largest;
    sums += vec2f(exp(z), z);
  }
  sums = row_sum(sums, slot, lane);
  let log_sum = log(sums.x);
  let lse = largest + log_sum;
  if (!valid) { return; }
  // No race with the gradient: the thread that reads the target's logit here is the one that
  // overwrites it below. All other reads of other threads lie before the barriers in row_sum.
  if (lane == t % LANES) {
    let nll = log_sum - (student[z0 + t * params.student_v] - largest);
    let ce = cross_entropy(nll, log_sum, sums.y, lse);
    per_token[row] = vec2f(select(0.0, ce, counts), 0.0);
  }
  if (GRADIENT == 1u) {
    let weight = select(0.0, scaler.scale * step.inverse_tokens, counts);
    for (var v = lane; v < params.V; v += LANES) {
      let at = z0 + v * params.student_v;
      let q = exp(student[at] - largest - log_sum);
      let label = select(0.0, 1.0 - params.label_smoothing, v == t)
        + params.label_smoothing / f32(params.V);
      student[at] = weight * ((1.0 + 2.0 * params.z_loss * lse) * q - label);
    }
  }
}
