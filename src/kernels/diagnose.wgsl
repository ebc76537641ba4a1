// How two models' predictions differ, one row (token) at a time. For student logits z, teacher
// logits y, p = softmax(y), q = softmax(z), and the sets Z and Y of the five likeliest tokens of
// each:
//
//   entropies −Σ p ln p and −Σ q ln q, and that of softmax(y / temperature)
//   overlap |Y ∩ Z| / 5, and the teacher's probability of Z
//   confidence max q
//
// A row whose target is ignored gives 0 for all. Logits and targets are read through their strides,
// and not changed. Aliases: teacher_type. Constants: LANES (threads a row).

#include "logits.wgsl"
#include "best.wgsl"
#include "step.wgsl"

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
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> student: array<f32>; // (B, T, V) through strides
@group(0) @binding(3) var<storage, read> teacher: array<teacher_type>; // (B, T, V) through strides
@group(0) @binding(4) var<storage, read> targets: array<i32>; // (B, T) through strides
// (B·T, FIGURES), in the order above
@group(0) @binding(5) var<storage, read_write> per_token: array<f32>;

const FIGURES = 6u;
const TOP = 5u;
const NO_TOKEN = 0xffffffffu;
// exp of it is 0. A token that the teacher rules out has −∞, and 0 · −∞ is NaN.
const LEAST = -100.0;
alias row_value = vec4f;

struct Candidate {
  logit: f32,
  token: u32,
}
// The thread's likeliest tokens, in order, and one that is none.
alias Top = array<Candidate, TOP + 1>;
var<private> top_z: Top;
var<private> top_y: Top;

// Tokens come in ascending order, so of equal logits the lower id stays ahead.
fn insert(top: ptr<private, Top>, logit: f32, token: u32) {
  if (!(logit > (*top)[TOP - 1].logit)) { return; }
  var i = TOP - 1;
  while (i > 0u) {
    if (logit <= (*top)[i - 1].logit) { break; }
    (*top)[i] = (*top)[i - 1];
    i -= 1u;
  }
  (*top)[i] = Candidate(logit, token);
}

// e^x and x e^x, whose sums give an entropy: −Σ p ln p = ln Σ e^x − Σ x e^x / Σ e^x.
fn terms_of(x: f32) -> vec2f {
  let bounded = at_least(x, LEAST);
  return exp(bounded) * vec2f(1.0, bounded);
}

fn entropy(sums: vec2f) -> f32 {
  return log(sums.x) - sums.y / sums.x;
}

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

  for (var i = 0u; i <= TOP; i++) {
    top_z[i] = Candidate(LOWEST, NO_TOKEN);
    top_y[i] = Candidate(LOWEST, NO_TOKEN);
  }
  for (var v = lane; v < params.V; v += LANES) {
    insert(&top_z, student[z0 + v * params.student_v], v);
    insert(&top_y, f32(teacher[y0 + v * params.teacher_v]), v);
  }
  // The row's likeliest tokens: the best of the threads' first ones, TOP times.
  var z_tokens: array<u32, TOP>;
  var y_tokens: array<u32, TOP>;
  var largest = vec2f(); // z, y
  var z_next = 0u;
  var y_next = 0u;
  for (var n = 0u; n < TOP; n++) {
    let z = top_z[z_next];
    let y = top_y[y_next];
    let best = row_best(Best(z.logit, y.logit, z.token, y.token), slot, lane);
    if (n == 0u) { largest = vec2f(best.z, best.y); }
    z_tokens[n] = best.z_token;
    y_tokens[n] = best.y_token;
    if (z.token == best.z_token && z_next < TOP) { z_next += 1u; }
    if (y.token == best.y_token && y_next < TOP) { y_next += 1u; }
  }

  var plain = vec4f(); // Σ e^z, Σ z e^z, Σ e^y, Σ y e^y, with z and y minus their largest
  var soft = vec4f(); // Σ e^(y/T), Σ y/T e^(y/T)
  let inverse_temperature = 1.0 / step.temperature;
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v] - largest.x;
    let y = f32(teacher[y0 + v * params.teacher_v]) - largest.y;
    plain += vec4f(terms_of(z), terms_of(y));
    soft += vec4f(terms_of(y * inverse_temperature), 0.0, 0.0);
  }
  plain = row_sum(plain, slot, lane);
  soft = row_sum(soft, slot, lane);
  if (!valid || lane != 0u) { return; }

  var in_both = 0.0;
  var mass = 0.0;
  for (var n = 0u; n < TOP; n++) {
    let token = z_tokens[n];
    if (token == NO_TOKEN) { continue; }
    mass += exp(f32(teacher[y0 + token * params.teacher_v]) - largest.y);
    for (var m = 0u; m < TOP; m++) { in_both += select(0.0, 1.0, y_tokens[m] == token); }
  }
  let at = row * FIGURES;
  let weight = select(0.0, 1.0, counts);
  per_token[at] = weight * entropy(plain.zw);
  per_token[at + 1] = weight * entropy(plain.xy);
  per_token[at + 2] = weight * entropy(soft.xy);
  // A NaN has no rank among the logits: only the sums show it.
  let sum = plain.x + plain.z;
  let ranked = weight * select(sum, 1.0, is_finite(sum));
  per_token[at + 3] = ranked * in_both / f32(TOP);
  per_token[at + 4] = ranked * mass / plain.z;
  // Some adapters make an infinity of a NaN's exponential, whose inverse would be 0.
  per_token[at + 5] = weight * select(plain.x, 1.0 / plain.x, is_finite(plain.x));
}
