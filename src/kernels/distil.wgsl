// The loss of distillation and its gradient, one row (token) at a time. For student logits z,
// teacher logits y, temperature T, p = softmax(y / T) and q = softmax(z / T):
//
//   loss = alpha · T² · D(p, q) + (1 − alpha) · CE, with the CE of cross_entropy.wgsl
//   dz = (alpha · T · dD + (1 − alpha) · dCE) · loss_scale / tokens, dD by z / T
//
// The divergence D is in the file that includes this one (fkl.wgsl, rkl.wgsl, …), which defines for
// each token
//
//   divergence(log_p, log_q, beta)   the token's term of D
//   dlogq(log_p, log_q, beta)        h, where dD = q (h − Σ q h)
//   dlogits(log_p, log_q, h, mean)   the token's element of dD, from h and the mean Σ q h
//
// Both h and the mean are taken minus the h of the student's most likely token. Where the student
// is sure of that token, h and the mean are nearly equal there, and the difference would cancel.
//
// The gradient takes the place of the student's logits. A row whose target is ignored gives a loss
// of 0 and a gradient of 0. Logits and targets are read through their strides. Aliases:
// teacher_type. Constants: LANES (threads a row), GRADIENT (0: leave the logits as they are).

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
  teacher_first: u32, // row of the B·T that `teacher` starts with
  teacher_offset: u32,
  teacher_b: u32,
  teacher_t: u32,
  teacher_v: u32,
  beta: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> scaler: Scaler;
@group(0) @binding(3) var<storage, read_write> student: array<f32>; // (B, T, V) through strides
@group(0) @binding(4) var<storage, read> targets: array<i32>; // (B, T) through strides
@group(0) @binding(5) var<storage, read_write> per_token: array<vec2f>; // (B·T): ce, D without T²
@group(0) @binding(6) var<storage, read> teacher: array<teacher_type>; // (B, T, V) through strides

alias row_value = vec4f;

// ln(1 + exp x), exact to f32 for small results as well: a mixture of p and q differs by this from
// one of them. log(1 + e) alone would lose e.
fn softplus(x: f32) -> f32 {
  let e = exp(-abs(x));
  let series = e * (1.0 - e * (0.5 - e * (1.0 / 3.0 - 0.25 * e)));
  return max(x, 0.0) + select(log(1.0 + e), series, e < 0.01);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let row = params.first + min(local, params.rows - 1);
  let z0 = row_address(row - params.student_first, params.T,
    params.student_offset, params.student_b, params.student_t);
  let y0 = row_address(row - params.teacher_first, params.T,
    params.teacher_offset, params.teacher_b, params.teacher_t);
  let target_token = targets[
    row_address(row, params.T, params.target_offset, params.target_b, params.target_t)];
  let counts = target_token != params.ignore;
  let t = select(0u, u32(target_token), counts);
  let inverse_temperature = 1.0 / step.temperature;

  var largest = vec4f(LOWEST); // z, y
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v];
    let y = f32(teacher[y0 + v * params.teacher_v]);
    largest = max(largest, vec4f(z, y, LOWEST, LOWEST));
  }
  largest = row_max(largest, slot, lane);
  var sums = vec4f(); // Σ exp z, Σ exp z/T, Σ exp y/T, Σ z; z and y minus their largest
  var likeliest = LOWEST; // the teacher's logit of the student's most likely token
  for (var block = lane; block < params.V; block += BLOCK) {
    var block_sums = vec4f();
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      let z = student[z0 + v * params.student_v] - largest.x;
      let y = f32(teacher[y0 + v * params.teacher_v]) - largest.y;
      block_sums += vec4f(exp(z), exp(z * inverse_temperature), exp(y * inverse_temperature), z);
      if (z == 0.0) { likeliest = max(likeliest, y); }
    }
    sums += block_sums;
  }
  likeliest = row_max(vec4f(likeliest), slot, lane).x;
  sums = row_sum(sums, slot, lane);
  let logs = log(sums.xyz);
  let lse = largest.x + logs.x;
  let log_p_likeliest = max(likeliest * inverse_temperature - logs.z, LOG_ZERO);
  let h_likeliest = dlogq(log_p_likeliest, -logs.y, params.beta);

  var terms = vec4f(); // D, Σ q h, lse − z_t, Σ q
  for (var block = lane; block < params.V; block += BLOCK) {
    var block_terms = vec4f();
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      let z = student[z0 + v * params.student_v] - largest.x;
      let y = f32(teacher[y0 + v * params.teacher_v]) - largest.y;
      let log_q = z * inverse_temperature - logs.y;
      let log_p = at_least(y * inverse_temperature - logs.z, LOG_ZERO);
      let q = exp(log_q);
      let h = dlogq(log_p, log_q, params.beta) - h_likeliest;
      let nll = select(0.0, logs.x - z, v == t);
      block_terms += vec4f(divergence(log_p, log_q, params.beta), q * h, nll, q);
    }
    terms += block_terms;
  }
  terms = row_sum(terms, slot, lane);
  if (!valid) { return; }
  if (lane == 0u) {
    let ce = cross_entropy(terms.z, logs.x, sums.w, lse);
    let d = select(logs.z, terms.x, is_finite(logs.z));
    per_token[row] = select(vec2f(), vec2f(ce, d), counts);
  }
  if (GRADIENT == 1u) {
    let weight = select(0.0, scaler.scale * step.inverse_tokens, counts);
    let soft = weight * step.alpha * step.temperature;
    let hard = weight * (1.0 - step.alpha);
    // Σ q is 1 except for rounding. A teacher's NaN becomes the gradient's, even if h drops it.
    let mean = select(logs.z, terms.y / terms.w, is_finite(logs.z));
    // A thread overwrites only logits that no other thread reads.
    for (var v = lane; v < params.V; v += LANES) {
      let at = z0 + v * params.student_v;
      let z = student[at] - largest.x;
      let y = f32(teacher[y0 + v * params.teacher_v]) - largest.y;
      let log_q = z * inverse_temperature - logs.y;
      let log_p = at_least(y * inverse_temperature - logs.z, LOG_ZERO);
      let h = dlogq(log_p, log_q, params.beta) - h_likeliest;
      let dce = cross_entropy_gradient(exp(z - logs.x), v == t, lse);
      student[at] = soft * dlogits(log_p, log_q, h, mean) + hard * dce;
    }
  }
}
