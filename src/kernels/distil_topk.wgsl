// Forward KL against a cached teacher, and its gradient in the student logits' place, one row
// (token) at a time: alpha · T² · KL + (1 − alpha) · CE, the cross-entropy that of distil.wgsl. KL
// is over k + 1 outcomes: the k words of the entry and all the others together, Σ p_j (ln p_j − ln
// q_j) + p_rest (ln p_rest − ln q_rest). Its gradient is T · dKL/dz_v = q_v − p_v, where a word
// outside the k has p_v = p_rest · q_v / q_rest: the student's own share. q_rest is summed from the
// words outside, less their own largest: 1 − Σ q_j would cancel, and underflow where the student is
// sure. A row whose target is ignored gives 0 and a gradient of 0. Row r is (r / T, r % T). An
// entry is as topk.wgsl packs it, k < V, its rest taken at the step's temperature. Constants: LANES
// (threads a row), GRADIENT (0 or 1: leave the logits alone), FIGURES (1: per_token is an
// evaluation's).

#include "rows.wgsl"

struct Params {
  first: u32, rows: u32, T: u32, V: u32, ignore: i32, label_smoothing: f32, z_loss: f32,
  student_first: u32, student_offset: u32, student_b: u32, student_t: u32, student_v: u32,
  target_offset: u32, target_b: u32, target_t: u32,
  entry_first: u32, entry_offset: u32, entry_b: u32, entry_t: u32,
  k: u32, narrow: u32,
}
struct Step { learning_rate: f32, temperature: f32, alpha: f32, inverse_tokens: f32 }
struct Scaler { scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> scaler: Scaler;
@group(0) @binding(3) var<storage, read_write> student: array<f32>; // (B, T, V) through strides
@group(0) @binding(4) var<storage, read> targets: array<i32>; // (B, T) through strides
@group(0) @binding(5) var<storage, read_write> per_token: array<f32>; // (B·T, 2): ce, kl; or (B·T, 4): ce, 0, kl, agreement
@group(0) @binding(6) var<storage, read> entries: array<u32>; // (B, T, words) through strides

const LOWEST = -3.4e38;
const LOG_ZERO = -1e30;
// Sums are made in blocks of so many elements a thread: rounding then grows with the blocks and
// their length, not with V.
const BLOCK = 32 * LANES;
const NO_ID = 0xffffffffu;
alias row_value = vec4f;
var<private> entry: u32; // where the row's entry begins
var<private> cursor: u32; // the first of its words that is not below the last one asked for,
var<private> next: u32; // and that word

fn value_at(j: u32) -> f32 {
  let pair = unpack2x16float(entries[entry + 1u + j / 2u]);
  return select(pair.x, pair.y, j % 2u == 1u);
}

fn id_at(j: u32) -> u32 {
  if (j >= params.k) { return NO_ID; }
  let ids = entry + 1u + (params.k + 1u) / 2u;
  if (params.narrow == 0u) { return entries[ids + j]; }
  return extractBits(entries[ids + j / 2u], 16u * (j % 2u), 16u);
}

fn rewind() {
  cursor = 0u;
  next = id_at(0u);
}

// Whether the entry has the word. To be asked for ascending words, after a rewind.
fn kept(v: u32) -> bool {
  while (next < v) {
    cursor++;
    next = id_at(cursor);
  }
  return next == v;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let row = params.first + min(local, params.rows - 1);
  let own = row - params.student_first;
  let z0 = params.student_offset + (own / params.T) * params.student_b + (own % params.T) * params.student_t;
  let theirs = row - params.entry_first;
  entry = params.entry_offset + (theirs / params.T) * params.entry_b + (theirs % params.T) * params.entry_t;
  let target_token = targets[params.target_offset + (row / params.T) * params.target_b + (row % params.T) * params.target_t];
  let counts = target_token != params.ignore;
  let t = select(0u, u32(target_token), counts);
  let cold = 1.0 / step.temperature;

  var largest = vec4f(LOWEST); // z, and z of the words outside
  rewind();
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v];
    largest = max(largest, vec4f(z, select(z, LOWEST, kept(v)), LOWEST, LOWEST));
  }
  largest = row_max(largest, slot, lane);
  var sums = vec4f(); // Σ exp z, Σ exp z/T, Σ z, the exponents less their largest; Σ exp z/T of the words outside, less theirs
  var likeliest = LOWEST; // less the first of the student's most likely words
  rewind();
  for (var block = lane; block < params.V; block += BLOCK) {
    var part = vec4f();
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      let all = student[z0 + v * params.student_v];
      let z = all - largest.x;
      // The exponent of a word inside could be large, and is not for this sum.
      let outside = !kept(v);
      part += vec4f(exp(z), exp(z * cold), z, select(0.0, exp(min(all - largest.y, 0.0) * cold), outside));
      if (z == 0.0) { likeliest = max(likeliest, -f32(v)); }
    }
    sums += part;
  }
  sums = row_sum(sums, slot, lane);
  let logs = log(sums.xyw);
  let lse = largest.x + logs.x;
  let log_q_rest = (largest.y - largest.x) * cold + logs.z - logs.y;

  var teacher = vec4f(); // Σ exp y/T of the entry
  var first = LOWEST; // less the first of the teacher's most likely words
  for (var j = lane; j < params.k; j += LANES) {
    let y = value_at(j);
    teacher.x += exp(y * cold);
    if (y == 0.0) { first = max(first, -f32(id_at(j))); }
  }
  let rest = bitcast<f32>(entries[entry]);
  let log_total = log(row_sum(teacher, slot, lane).x + exp(rest));
  let log_p_rest = max(rest - log_total, LOG_ZERO);
  // ln p − ln q of every word outside.
  let outside_ratio = log_p_rest - log_q_rest;
  let best = row_max(vec4f(likeliest, first, LOWEST, LOWEST), slot, lane);

  // One thread reads the target's logit, and the barriers of the next row_sum lie between that and
  // every write.
  var terms = vec4f(); // KL over the words inside, lse − z_t
  rewind();
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v] - largest.x;
    if (kept(v)) {
      let lp = max(value_at(cursor) * cold - log_total, LOG_ZERO);
      terms.x += exp(lp) * (lp - (z * cold - logs.y));
    }
    if (v == t) { terms.y += logs.x - z; }
  }
  terms = row_sum(terms, slot, lane);
  if (!valid) { return; }
  if (lane == 0u) {
    let smooth_ce = mix(terms.y, logs.x - sums.z / f32(params.V), params.label_smoothing) + params.z_loss * lse * lse;
    let ce = select(0.0, smooth_ce, counts);
    let kl = select(0.0, terms.x + exp(log_p_rest) * outside_ratio, counts);
    if (FIGURES == 1u) {
      per_token[4u * row] = ce;
      per_token[4u * row + 1u] = 0.0;
      per_token[4u * row + 2u] = kl;
      per_token[4u * row + 3u] = select(0.0, 1.0, counts && best.x == best.y);
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
    for (var v = lane; v < params.V; v += LANES) {
      let at = z0 + v * params.student_v;
      let z = student[at] - largest.x;
      let lq = z * cold - logs.y;
      var lp = lq + outside_ratio;
      if (kept(v)) { lp = max(value_at(cursor) * cold - log_total, LOG_ZERO); }
      let dce = (1.0 + 2.0 * params.z_loss * lse) * exp(z - logs.x)
        - select(0.0, 1.0 - params.label_smoothing, v == t) - params.label_smoothing / f32(params.V);
      student[at] = soft * (exp(lq) - exp(lp)) + hard * dce;
    }
  }
}
