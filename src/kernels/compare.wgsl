// What an evaluation measures, one row (token) at a time, at temperature 1: both models' negative
// log-likelihood of the target, KL(teacher ‖ student), whether their most likely tokens agree, and
// whether each is the target. A row whose target is ignored gives 0 for all. Logits and targets are
// read through their strides, and not changed. Aliases: teacher_type. Constants: LANES (threads a
// row).

#include "logits.wgsl"
#include "best.wgsl"

struct Params {
  rows: u32,
  T: u32,
  V: u32,
  ignore: i32,
  student_offset: u32,
  student_b: u32,
  student_t: u32,
  student_v: u32,
  target_offset: u32,
  target_b: u32,
  target_t: u32,
  teacher_offset: u32,
  teacher_b: u32,
  teacher_t: u32,
  teacher_v: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> student: array<f32>; // (B, T, V) through strides
@group(0) @binding(2) var<storage, read> teacher: array<teacher_type>; // (B, T, V) through strides
@group(0) @binding(3) var<storage, read> targets: array<i32>; // (B, T) through strides
// (B·T, 6): student's nll, teacher's nll, kl; 0 or 1: agreement, student right, teacher right
@group(0) @binding(4) var<storage, read_write> per_token: array<f32>;

alias row_value = vec4f;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let row = min(local, params.rows - 1);
  let z0 = row_address(row, params.T, params.student_offset, params.student_b, params.student_t);
  let y0 = row_address(row, params.T, params.teacher_offset, params.teacher_b, params.teacher_t);
  let target_token = targets[
    row_address(row, params.T, params.target_offset, params.target_b, params.target_t)];
  let counts = target_token != params.ignore;
  let t = select(0u, u32(target_token), counts);

  var best = Best(LOWEST, LOWEST, lane, lane);
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v];
    let y = f32(teacher[y0 + v * params.teacher_v]);
    best = better(best, Best(z, y, v, v));
  }
  best = row_best(best, slot, lane);
  var sums = vec4f(); // Σ exp z, Σ exp y; z and y minus their largest
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v] - best.z;
    let y = f32(teacher[y0 + v * params.teacher_v]) - best.y;
    sums += vec4f(exp(z), exp(y), 0.0, 0.0);
  }
  let logs = log(row_sum(sums, slot, lane).xy);
  var terms = vec4f(); // student's nll, teacher's nll, kl
  for (var v = lane; v < params.V; v += LANES) {
    let log_q = student[z0 + v * params.student_v] - best.z - logs.x;
    let log_p = f32(teacher[y0 + v * params.teacher_v]) - best.y - logs.y;
    let p = exp(log_p);
    terms.z += select(p * (log_p - log_q), 0.0, p == 0.0);
    if (v == t) {
      terms.x = -log_q;
      terms.y = -log_p;
    }
  }
  terms = row_sum(terms, slot, lane);
  if (!valid || lane != 0u) { return; }
  terms = select(vec4f(), terms, counts);
  per_token[6u * row] = terms.x;
  per_token[6u * row + 1u] = terms.y;
  per_token[6u * row + 2u] = terms.z;
  per_token[6u * row + 3u] = select(0.0, 1.0, counts && best.z_token == best.y_token);
  per_token[6u * row + 4u] = select(0.0, 1.0, counts && best.z_token == t);
  per_token[6u * row + 5u] = select(0.0, 1.0, counts && best.y_token == t);
}
