// The loss of distillation with forward KL against a cached teacher, and its gradient, one row
// (token) at a time: alpha · T² · KL + (1 − alpha) · CE, with the CE of cross_entropy.wgsl. KL is
// over k + 1 outcomes, the k tokens of the cache entry and the tail of all other tokens:
//
//   KL = Σ_j p_j (ln p_j − ln q_j) + p_tail (ln p_tail − ln q_tail)
//   T · dKL/dz_v = q_v − p_v, where a token of the tail has p_v = p_tail · q_v / q_tail
//
// q_tail is summed over the tokens of the tail, minus their own largest logit: 1 − Σ_j q_j would
// cancel, and underflow where the student is sure. Entries are as topk.wgsl writes them, with k < V
// and the tail taken at the step's temperature.
//
// The gradient takes the place of the student's logits. A row whose target is ignored gives a loss
// of 0 and a gradient of 0. Constants: LANES (threads a row), GRADIENT (0: leave the logits as they
// are), EVALUATION (1: per_token has the columns of compare.wgsl).

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
  entry_first: u32, // row of the B·T that `entries` starts with
  entry_offset: u32,
  entry_b: u32,
  entry_t: u32,
  k: u32,
  u16_ids: u32, // 1 if ids are u16
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> scaler: Scaler;
@group(0) @binding(3) var<storage, read_write> student: array<f32>; // (B, T, V) through strides
@group(0) @binding(4) var<storage, read> targets: array<i32>; // (B, T) through strides
// (B·T, 2): ce, kl; or for an evaluation the six columns of compare.wgsl, teacher's nll 0
@group(0) @binding(5) var<storage, read_write> per_token: array<f32>;
@group(0) @binding(6) var<storage, read> entries: array<u32>; // (B, T, entry size) through strides

const NO_ID = 0xffffffffu;
alias row_value = vec4f;
var<private> entry: u32; // where the row's entry begins
// Ids of the entry are read in step with a loop over ascending tokens:
var<private> cursor: u32; // the first id that is not below the loop's token
var<private> cursor_id: u32;

fn value_at(j: u32) -> f32 {
  let pair = unpack2x16float(entries[entry + 1u + j / 2u]);
  return select(pair.x, pair.y, j % 2u == 1u);
}

fn id_at(j: u32) -> u32 {
  if (j >= params.k) { return NO_ID; }
  let ids = entry + 1u + (params.k + 1u) / 2u;
  if (params.u16_ids == 0u) { return entries[ids + j]; }
  return extractBits(entries[ids + j / 2u], 16u * (j % 2u), 16u);
}

fn rewind() {
  cursor = 0u;
  cursor_id = id_at(0u);
}

// Whether the entry has token v. After a rewind, call it with ascending tokens.
fn in_entry(v: u32) -> bool {
  while (cursor_id < v) {
    cursor++;
    cursor_id = id_at(cursor);
  }
  return cursor_id == v;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let row = params.first + min(local, params.rows - 1);
  let z0 = row_address(row - params.student_first, params.T,
    params.student_offset, params.student_b, params.student_t);
  entry = row_address(row - params.entry_first, params.T,
    params.entry_offset, params.entry_b, params.entry_t);
  let target_token = targets[
    row_address(row, params.T, params.target_offset, params.target_b, params.target_t)];
  let counts = target_token != params.ignore;
  let t = select(0u, u32(target_token), counts);
  let inverse_temperature = 1.0 / step.temperature;

  var largest = vec4f(LOWEST); // z, and z of the tail
  rewind();
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v];
    largest = max(largest, vec4f(z, select(z, LOWEST, in_entry(v)), LOWEST, LOWEST));
  }
  largest = row_max(largest, slot, lane);
  // Σ exp z, Σ exp z/T, Σ z, of z minus the largest; Σ exp z/T of the tail, minus its own largest
  var sums = vec4f();
  var likeliest = LOWEST; // minus the lowest id of the student's most likely tokens
  rewind();
  for (var block = lane; block < params.V; block += BLOCK) {
    var block_sums = vec4f();
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      let logit = student[z0 + v * params.student_v];
      let z = logit - largest.x;
      let in_tail = !in_entry(v);
      // A token of the entry may lie far above the tail: min keeps its unused exponential finite.
      let tail_z = min(logit - largest.y, 0.0);
      block_sums += vec4f(exp(z), exp(z * inverse_temperature), z,
        select(0.0, exp(tail_z * inverse_temperature), in_tail));
      if (z == 0.0) { likeliest = max(likeliest, -f32(v)); }
    }
    sums += block_sums;
  }
  sums = row_sum(sums, slot, lane);
  let logs = log(sums.xyw);
  let lse = largest.x + logs.x;
  let log_q_tail = (largest.y - largest.x) * inverse_temperature + logs.z - logs.y;

  var teacher = vec4f(); // Σ exp y/T over the entry
  var teacher_likeliest = LOWEST; // minus the lowest id of the teacher's most likely tokens
  for (var j = lane; j < params.k; j += LANES) {
    let y = value_at(j);
    teacher.x += exp(y * inverse_temperature);
    if (y == 0.0) { teacher_likeliest = max(teacher_likeliest, -f32(id_at(j))); }
  }
  let tail = bitcast<f32>(entries[entry]);
  let log_total = log(row_sum(teacher, slot, lane).x + exp(tail));
  let log_p_tail = at_least(tail - log_total, LOG_ZERO);
  // ln p − ln q, the same for every token of the tail.
  let tail_log_ratio = log_p_tail - log_q_tail;
  let best = row_max(vec4f(likeliest, teacher_likeliest, LOWEST, LOWEST), slot, lane);

  var terms = vec4f(); // KL over the entry, lse − z_t
  rewind();
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v] - largest.x;
    if (in_entry(v)) {
      let log_p = at_least(value_at(cursor) * inverse_temperature - log_total, LOG_ZERO);
      terms.x += exp(log_p) * (log_p - (z * inverse_temperature - logs.y));
    }
    if (v == t) { terms.y += logs.x - z; }
  }
  terms = row_sum(terms, slot, lane);
  if (!valid) { return; }
  if (lane == 0u) {
    let ce = select(0.0, cross_entropy(terms.y, logs.x, sums.z, lse), counts);
    let kl = select(0.0, terms.x + exp(log_p_tail) * tail_log_ratio, counts);
    if (EVALUATION == 1u) {
      per_token[6u * row] = ce;
      per_token[6u * row + 1u] = 0.0;
      per_token[6u * row + 2u] = kl;
      per_token[6u * row + 3u] = select(0.0, 1.0, counts && best.x == best.y);
      per_token[6u * row + 4u] = select(0.0, 1.0, counts && best.x == -f32(t));
      per_token[6u * row + 5u] = select(0.0, 1.0, counts && best.y == -f32(t));
    } else {
      per_token[2u * row] = ce;
      per_token[2u * row + 1u] = kl;
    }
  }
  if (GRADIENT == 1u) {
    let weight = select(0.0, scaler.scale * step.inverse_tokens, counts);
    let soft = weight * step.alpha * step.temperature;
    let hard = weight * (1.0 - step.alpha);
    rewind();
    // A thread overwrites only logits that no other thread reads.
    for (var v = lane; v < params.V; v += LANES) {
      let at = z0 + v * params.student_v;
      let z = student[at] - largest.x;
      let log_q = z * inverse_temperature - logs.y;
      var log_p = log_q + tail_log_ratio;
      if (in_entry(v)) {
        log_p = at_least(value_at(cursor) * inverse_temperature - log_total, LOG_ZERO);
      }
      let dce = cross_entropy_gradient(exp(z - logs.x), v == t, lse);
      student[at] = soft * (exp(log_q) - exp(log_p)) + hard * dce;
    }
  }
}
