// A distillation loss and its gradient in the student logits' place, one row (token) at a time:
// alpha · T² · KD(p, q) + (1 − alpha) · CE, p = softmax(y / T), q = softmax(z / T), CE = (1 −
// e)(lse − z_t) + e (lse − mean z) + l · lse², lse = log Σ exp z, dz = (alpha · T² · dKD + (1 −
// alpha) · ((1 + 2 l · lse) softmax(z) − (1 − e) 1_t − e / V)) · loss_scale / tokens. KD is the
// file that stands before this one (fkl.wgsl, rkl.wgsl, …), with three functions of ln p and ln q:
// value(lp, lq, beta) → what the word adds to KD pull(lp, lq, beta) → h of the gradient T · dKD/dz
// = q (h − Σ q h) slope(lp, lq, h, mean) → that gradient. h and its mean come less the h of the
// student's most likely word: where the student is sure of a word, h and the mean are nearly equal
// there and would cancel. A row whose target is ignored gives 0 and a gradient of 0. Student,
// teacher and targets are read where they lie: row r is (r / T, r % T). per_token keeps CE and KD
// (without T²) apart. Aliases: teacher_type. Constants: LANES (threads a row), GRADIENT (0 or 1:
// leave the logits alone).

#include "rows.wgsl"

struct Params {
  first: u32, rows: u32, T: u32, V: u32, ignore: i32, label_smoothing: f32, z_loss: f32,
  student_first: u32, student_offset: u32, student_b: u32, student_t: u32, student_v: u32,
  target_offset: u32, target_b: u32, target_t: u32,
  teacher_first: u32, teacher_offset: u32, teacher_b: u32, teacher_t: u32, teacher_v: u32,
  beta: f32,
}
struct Step { learning_rate: f32, temperature: f32, alpha: f32, inverse_tokens: f32 }
struct Scaler { scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> scaler: Scaler;
@group(0) @binding(3) var<storage, read_write> student: array<f32>; // (B, T, V) through strides
@group(0) @binding(4) var<storage, read> targets: array<i32>; // (B, T) through strides
@group(0) @binding(5) var<storage, read_write> per_token: array<vec2f>; // (B·T): ce, kd
@group(0) @binding(6) var<storage, read> teacher: array<teacher_type>; // (B, T, V) through strides

const LOWEST = -3.4e38;
// Below this ln p stands for p = 0: a word that the teacher rules out (−∞) must not make 0 · ∞.
const LOG_ZERO = -1e30;
// Sums are made in blocks of so many elements a thread: rounding then grows with the blocks and
// their length, not with V.
const BLOCK = 32 * LANES;
alias row_value = vec4f;

// ln(1 + exp x), exact to f32 where it is small: mixtures of p and q differ from one of them by
// this. log(1 + e) alone would lose e.
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
  let own = row - params.student_first;
  let z0 = params.student_offset + (own / params.T) * params.student_b + (own % params.T) * params.student_t;
  let theirs = row - params.teacher_first;
  let y0 = params.teacher_offset + (theirs / params.T) * params.teacher_b + (theirs % params.T) * params.teacher_t;
  let target_token = targets[params.target_offset + (row / params.T) * params.target_b + (row % params.T) * params.target_t];
  let counts = target_token != params.ignore;
  let t = select(0u, u32(target_token), counts);
  let cold = 1.0 / step.temperature;

  var largest = vec4f(LOWEST);
  for (var v = lane; v < params.V; v += LANES) {
    let z = student[z0 + v * params.student_v];
    let y = f32(teacher[y0 + v * params.teacher_v]);
    largest = max(largest, vec4f(z, y, LOWEST, LOWEST));
  }
  largest = row_max(largest, slot, lane);
  var sums = vec4f(); // Σ exp z, Σ exp z/T, Σ exp y/T, Σ z; the exponents less their largest
  var likeliest = LOWEST; // the teacher's logit of the student's most likely word
  for (var block = lane; block < params.V; block += BLOCK) {
    var part = vec4f();
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      let z = student[z0 + v * params.student_v] - largest.x;
      let y = f32(teacher[y0 + v * params.teacher_v]) - largest.y;
      part += vec4f(exp(z), exp(z * cold), exp(y * cold), z);
      if (z == 0.0) { likeliest = max(likeliest, y); }
    }
    sums += part;
  }
  likeliest = row_max(vec4f(likeliest), slot, lane).x;
  sums = row_sum(sums, slot, lane);
  let logs = log(sums.xyz);
  let lse = largest.x + logs.x;
  let centre = pull(max(likeliest * cold - logs.z, LOG_ZERO), -logs.y, params.beta);

  // One thread reads the target's logit, and the barriers of the next row_sum lie between that and
  // every write.
  var terms = vec4f(); // KD, Σ q h, lse − z_t, Σ q
  for (var block = lane; block < params.V; block += BLOCK) {
    var part = vec4f();
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      let z = student[z0 + v * params.student_v] - largest.x;
      let lq = z * cold - logs.y;
      let lp = max((f32(teacher[y0 + v * params.teacher_v]) - largest.y) * cold - logs.z, LOG_ZERO);
      let q = exp(lq);
      let h = pull(lp, lq, params.beta) - centre;
      part += vec4f(value(lp, lq, params.beta), q * h, select(0.0, logs.x - z, v == t), q);
    }
    terms += part;
  }
  terms = row_sum(terms, slot, lane);
  if (!valid) { return; }
  if (lane == 0u) {
    let smooth_ce = mix(terms.z, logs.x - sums.w / f32(params.V), params.label_smoothing);
    per_token[row] = select(vec2f(), vec2f(smooth_ce + params.z_loss * lse * lse, terms.x), counts);
  }
  if (GRADIENT == 1u) {
    let weight = select(0.0, scaler.scale * step.inverse_tokens, counts);
    let soft = weight * step.alpha * step.temperature;
    let hard = weight * (1.0 - step.alpha);
    // Σ q is 1 but for rounding.
    let mean = terms.y / terms.w;
    for (var v = lane; v < params.V; v += LANES) {
      let at = z0 + v * params.student_v;
      let z = student[at] - largest.x;
      let lq = z * cold - logs.y;
      let lp = max((f32(teacher[y0 + v * params.teacher_v]) - largest.y) * cold - logs.z, LOG_ZERO);
      let dce = (1.0 + 2.0 * params.z_loss * lse) * exp(z - logs.x)
        - select(0.0, 1.0 - params.label_smoothing, v == t) - params.label_smoothing / f32(params.V);
      student[at] = soft * slope(lp, lq, pull(lp, lq, params.beta) - centre, mean) + hard * dce;
    }
  }
}
