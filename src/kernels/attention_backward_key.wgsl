// Backward pass of attention.wgsl with respect to k and v. Differentiates out = p · v,
// p = softmax(s), s = q · kᵀ / √D. Over the queries that attend to a key:
//
//   dv = Σ p · dout,  ds = p (dout · v − delta),  dk = Σ ds · q / √D
//
// The sums are over all query heads that share the key. Runs after attention_backward_query.wgsl,
// which stores delta. A lane holds two keys, as it holds two queries in attention.wgsl, and takes
// eight queries at a time.
//
// Aliases: scalar. Constants: HEAD = D / 4, SLICES, LANES, UNROLL (0 or 1),
// WINDOW (0 or 1), DOCUMENTS (0 or 1), GROUP = NH / NKV (query heads that share these keys).

#include <lanes>

struct Params {
  T: u32,
  NH: u32,
  NKV: u32, // heads of a row: NH + 2 NKV
  scale: f32,
  width: u32,
  window: u32, // keys that a query sees, its own included; used if WINDOW is 1
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<scalar>>; // (B, T, heads, HEAD)
@group(0) @binding(2) var<storage, read> dout: array<vec4<scalar>>; // (B, T, NH, HEAD)
@group(0) @binding(3) var<storage, read> lse: array<f32>; // (B, NH, T)
@group(0) @binding(4) var<storage, read> delta: array<f32>; // (B, NH, T)
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4<scalar>>; // (B, T, heads, HEAD)
#if DOCUMENTS
// (B, T): where in its row each token's document begins, and where the next one does.
@group(0) @binding(6) var<storage, read> documents: array<vec2u>;
#endif

const WIDTH = (HEAD + SLICES - 1) / SLICES; // vectors of a row that a lane holds
const PAIRS = LANES / SLICES; // pairs of keys in a workgroup

/** The vectors at four places of qkv, as columns. */
fn load4_qkv(at: vec4u) -> mat4x4f {
  return gather4(vec4f(qkv[at.x]), vec4f(qkv[at.y]), vec4f(qkv[at.z]), vec4f(qkv[at.w]));
}

/** And at four places of dout. */
fn load4_dout(at: vec4u) -> mat4x4f {
  return gather4(vec4f(dout[at.x]), vec4f(dout[at.y]), vec4f(dout[at.z]), vec4f(dout[at.w]));
}

fn statistics(at: u32) -> vec4f {
  return vec4f(lse[at], delta[at], 0, 0);
}

/** lse of four queries in the first column, their delta in the second. */
fn load4_statistics(at: vec4u) -> mat4x4f {
  return transpose(gather4(statistics(at.x), statistics(at.y), statistics(at.z), statistics(at.w)));
}

/** The queries of sequence b from this one on do not attend to key j. */
fn end_of_queries(b: u32, j: u32) -> u32 {
  var end = params.T;
  #if WINDOW
  end = min(end, j + params.window);
  #endif
  #if DOCUMENTS
  end = min(end, documents[b * params.T + min(j, params.T - 1)].y);
  #endif
  return end;
}

/** p of a key and the four queries from t on; 0 but for those from seen.x to seen.y − 1. */
fn probabilities(s: vec4f, seen: vec2u, t: u32, lse: vec4f) -> vec4f {
  let queries = vec4u(t) + vec4u(0, 1, 2, 3);
  return select(vec4f(), exp(s - lse), (queries >= vec4u(seen.x)) & (queries < vec4u(seen.y)));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let shared_head = group.y; // of NKV
  let b = group.z;
  let start = group.x * 2 * PAIRS; // first key; no query before it attends to one of these keys
  let last = params.T - 1;
  let j0 = start + lane / SLICES;
  let j1 = j0 + PAIRS;
  let slice = lane % SLICES;
  // A constant width unrolls the loops over a row: see attention.wgsl.
  let width = select(params.width, WIDTH, UNROLL == 1u);
  let out_step = params.NH * HEAD; // from one position to the next
  let values = params.NKV * HEAD; // from a key to its value
  let step = out_step + 2 * values;
  let key = b * params.T * step + out_step + shared_head * HEAD;
  let key0 = key + min(j0, last) * step;
  let key1 = key + min(j1, last) * step;
  var k0: array<vec4f, WIDTH>;
  var k1: array<vec4f, WIDTH>;
  var v0: array<vec4f, WIDTH>;
  var v1: array<vec4f, WIDTH>;
  var dk0: array<vec4f, WIDTH>;
  var dk1: array<vec4f, WIDTH>;
  var dv0: array<vec4f, WIDTH>;
  var dv1: array<vec4f, WIDTH>;
  for (var i = 0u; i < width; i++) {
    // Past the head's end a slice has zeros.
    let element = min(i * SLICES + slice, HEAD - 1);
    let inside = select(1.0, 0.0, i * SLICES + slice >= HEAD);
    k0[i] = vec4f(qkv[key0 + element]) * params.scale * inside;
    k1[i] = vec4f(qkv[key1 + element]) * params.scale * inside;
    v0[i] = vec4f(qkv[key0 + values + element]) * inside;
    v1[i] = vec4f(qkv[key1 + values + element]) * inside;
    dk0[i] = vec4f();
    dk1[i] = vec4f();
    dv0[i] = vec4f();
    dv1[i] = vec4f();
  }
  let seen0 = vec2u(j0, end_of_queries(b, j0));
  let seen1 = vec2u(j1, end_of_queries(b, j1));
  let end = end_of_queries(b, start + 2 * PAIRS - 1);
  for (var member = 0u; member < GROUP; member++) {
    let h = shared_head * GROUP + member;
    let first = b * params.T * step + h * HEAD;
    let out_first = b * params.T * out_step + h * HEAD;
    let at = (b * params.NH + h) * params.T;
    for (var t = start; t < end; t += 8) {
      let row0 = min(load_positions(t, lane), vec4u(last));
      let row1 = min(load_positions(t + 4, lane), vec4u(last));
      var s = mat4x4f();
      var dp = mat4x4f();
      for (var i = 0u; i < width; i++) {
        let element = min(i * SLICES + slice, HEAD - 1);
        let q_lo = load4_qkv(row0 * step + first + element);
        let q_hi = load4_qkv(row1 * step + first + element);
        s[0] += k0[i] * q_lo;
        s[1] += k0[i] * q_hi;
        s[2] += k1[i] * q_lo;
        s[3] += k1[i] * q_hi;
        let dout_lo = load4_dout(row0 * out_step + out_first + element);
        let dout_hi = load4_dout(row1 * out_step + out_first + element);
        dp[0] += v0[i] * dout_lo;
        dp[1] += v0[i] * dout_hi;
        dp[2] += v1[i] * dout_lo;
        dp[3] += v1[i] * dout_hi;
      }
      s = row_sum4(s, lane);
      dp = row_sum4(dp, lane);
      let statistics_lo = load4_statistics(row0 + at);
      let statistics_hi = load4_statistics(row1 + at);
      let p_lo0 = probabilities(s[0], seen0, t, statistics_lo[0]);
      let p_hi0 = probabilities(s[1], seen0, t + 4, statistics_hi[0]);
      let p_lo1 = probabilities(s[2], seen1, t, statistics_lo[0]);
      let p_hi1 = probabilities(s[3], seen1, t + 4, statistics_hi[0]);
      let ds_lo0 = p_lo0 * (dp[0] - statistics_lo[1]) * params.scale;
      let ds_hi0 = p_hi0 * (dp[1] - statistics_hi[1]) * params.scale;
      let ds_lo1 = p_lo1 * (dp[2] - statistics_lo[1]) * params.scale;
      let ds_hi1 = p_hi1 * (dp[3] - statistics_hi[1]) * params.scale;
      for (var i = 0u; i < width; i++) {
        let element = min(i * SLICES + slice, HEAD - 1);
        let q_lo = load4_qkv(row0 * step + first + element);
        let q_hi = load4_qkv(row1 * step + first + element);
        dk0[i] += q_lo * ds_lo0 + q_hi * ds_hi0;
        dk1[i] += q_lo * ds_lo1 + q_hi * ds_hi1;
        let dout_lo = load4_dout(row0 * out_step + out_first + element);
        let dout_hi = load4_dout(row1 * out_step + out_first + element);
        dv0[i] += dout_lo * p_lo0 + dout_hi * p_hi0;
        dv1[i] += dout_lo * p_lo1 + dout_hi * p_hi1;
      }
    }
  }
  for (var i = 0u; i < width; i++) {
    let element = i * SLICES + slice;
    if (element >= HEAD) { continue; }
    if (j0 <= last) {
      dqkv[key0 + element] = vec4<scalar>(dk0[i]);
      dqkv[key0 + values + element] = vec4<scalar>(dv0[i]);
    }
    if (j1 <= last) {
      dqkv[key1 + element] = vec4<scalar>(dk1[i]);
      dqkv[key1 + values + element] = vec4<scalar>(dv1[i]);
    }
  }
}
