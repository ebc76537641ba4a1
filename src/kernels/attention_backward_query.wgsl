// Backward pass of attention.wgsl with respect to q. Differentiates out = p · v, p = softmax(s),
// s = q · kᵀ / √D:
//
//   dp = dout · vᵀ,  ds = p (dp − delta),  dq = ds · k / √D,  delta = Σ dout · out
//
// p is computed again from the scores and lse. delta is stored for attention_backward_key.wgsl.
// Lanes hold queries and share loads as in attention.wgsl.
//
// Aliases: scalar. Constants: HEAD = D / 4, SLICES, LANES, UNROLL (0 or 1),
// WINDOW (0 or 1), DOCUMENTS (0 or 1).

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
@group(0) @binding(2) var<storage, read> out: array<vec4<scalar>>; // (B, T, NH, HEAD)
@group(0) @binding(3) var<storage, read> dout: array<vec4<scalar>>; // (B, T, NH, HEAD)
@group(0) @binding(4) var<storage, read> lse: array<f32>; // (B, NH, T)
@group(0) @binding(5) var<storage, read_write> delta: array<f32>; // (B, NH, T)
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4<scalar>>; // (B, T, heads, HEAD)
#if DOCUMENTS
// (B, T): where in its row each token's document begins, and where the next one does.
@group(0) @binding(7) var<storage, read> documents: array<vec2u>;
#endif

const WIDTH = (HEAD + SLICES - 1) / SLICES; // vectors of a row that a lane holds
const PAIRS = LANES / SLICES; // pairs of queries in a workgroup

/** The vectors at four places of qkv, as columns. */
fn load4(at: vec4u) -> mat4x4f {
  return gather4(vec4f(qkv[at.x]), vec4f(qkv[at.y]), vec4f(qkv[at.z]), vec4f(qkv[at.w]));
}

/** The first key that query t of sequence b sees. */
fn first_key(b: u32, t: u32) -> u32 {
  var first = 0u;
  #if WINDOW
  first = t + 1 - min(t + 1, params.window);
  #endif
  #if DOCUMENTS
  first = max(first, documents[b * params.T + min(t, params.T - 1)].x);
  #endif
  return first;
}

/** ds of a query that sees the keys `seen.x` to `seen.y`, and the four keys from j on. */
fn score_gradient(s: vec4f, dp: vec4f, j: u32, seen: vec2u, lse: f32, delta: f32) -> vec4f {
  let keys = vec4u(j) + vec4u(0, 1, 2, 3);
  let hidden = (keys < vec4u(seen.x)) | (keys > vec4u(seen.y));
  return select(exp(s - lse) * (dp - delta), vec4f(), hidden);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let h = group.y;
  let b = group.z;
  let start = group.x * 2 * PAIRS;
  let last = min(start + 2 * PAIRS, params.T) - 1; // last key that its queries attend to
  let t0 = start + lane / SLICES;
  let t1 = t0 + PAIRS;
  let slice = lane % SLICES;
  // A constant width unrolls the loops over a row: see attention.wgsl.
  let width = select(params.width, WIDTH, UNROLL == 1u);
  let step = (params.NH + 2 * params.NKV) * HEAD; // from one position to the next
  let first = b * params.T * step + h * HEAD;
  let k0 = b * params.T * step + (params.NH + h * params.NKV / params.NH) * HEAD;
  let v0 = k0 + params.NKV * HEAD;
  let at = (b * params.NH + h) * params.T;
  let row0 = min(t0, last);
  let row1 = min(t1, last);
  let out0 = (b * params.T + row0) * params.NH * HEAD + h * HEAD;
  let out1 = (b * params.T + row1) * params.NH * HEAD + h * HEAD;
  var q0: array<vec4f, WIDTH>;
  var q1: array<vec4f, WIDTH>;
  var dout0: array<vec4f, WIDTH>;
  var dout1: array<vec4f, WIDTH>;
  var dq0: array<vec4f, WIDTH>;
  var dq1: array<vec4f, WIDTH>;
  var delta_sums = mat4x4f();
  for (var i = 0u; i < width; i++) {
    // Past the head's end a slice has zeros.
    let element = min(i * SLICES + slice, HEAD - 1);
    let inside = select(1.0, 0.0, i * SLICES + slice >= HEAD);
    q0[i] = vec4f(qkv[first + row0 * step + element]) * params.scale * inside;
    q1[i] = vec4f(qkv[first + row1 * step + element]) * params.scale * inside;
    dout0[i] = vec4f(dout[out0 + element]) * inside;
    dout1[i] = vec4f(dout[out1 + element]) * inside;
    delta_sums[0] += dout0[i] * vec4f(out[out0 + element]);
    delta_sums[1] += dout1[i] * vec4f(out[out1 + element]);
    dq0[i] = vec4f();
    dq1[i] = vec4f();
  }
  delta_sums = row_sum4(delta_sums, lane);
  let delta0 = dot(delta_sums[0], vec4f(1));
  let delta1 = dot(delta_sums[1], vec4f(1));
  let lse0 = lse[at + row0];
  let lse1 = lse[at + row1];
  let seen0 = vec2u(first_key(b, t0), t0);
  let seen1 = vec2u(first_key(b, t1), t1);
  let begin = first_key(b, start) / 8 * 8; // no query sees a key before it
  for (var j = begin; j <= last; j += 8) {
    let at0 = min(load_positions(j, lane), vec4u(last)) * step;
    let at1 = min(load_positions(j + 4, lane), vec4u(last)) * step;
    var s = mat4x4f();
    var dp = mat4x4f();
    for (var i = 0u; i < width; i++) {
      let element = min(i * SLICES + slice, HEAD - 1);
      let k_lo = load4(at0 + k0 + element);
      let k_hi = load4(at1 + k0 + element);
      s[0] += q0[i] * k_lo;
      s[1] += q0[i] * k_hi;
      s[2] += q1[i] * k_lo;
      s[3] += q1[i] * k_hi;
      let v_lo = load4(at0 + v0 + element);
      let v_hi = load4(at1 + v0 + element);
      dp[0] += dout0[i] * v_lo;
      dp[1] += dout0[i] * v_hi;
      dp[2] += dout1[i] * v_lo;
      dp[3] += dout1[i] * v_hi;
    }
    s = row_sum4(s, lane);
    dp = row_sum4(dp, lane);
    let ds_lo0 = score_gradient(s[0], dp[0], j, seen0, lse0, delta0);
    let ds_hi0 = score_gradient(s[1], dp[1], j + 4, seen0, lse0, delta0);
    let ds_lo1 = score_gradient(s[2], dp[2], j, seen1, lse1, delta1);
    let ds_hi1 = score_gradient(s[3], dp[3], j + 4, seen1, lse1, delta1);
    for (var i = 0u; i < width; i++) {
      let element = k0 + min(i * SLICES + slice, HEAD - 1);
      let k_lo = load4(at0 + element);
      let k_hi = load4(at1 + element);
      dq0[i] += k_lo * ds_lo0 + k_hi * ds_hi0;
      dq1[i] += k_lo * ds_lo1 + k_hi * ds_hi1;
    }
  }
  for (var i = 0u; i < width; i++) {
    let element = i * SLICES + slice;
    if (element >= HEAD) { continue; }
    if (t0 <= last) { dqkv[first + t0 * step + element] = vec4<scalar>(dq0[i] * params.scale); }
    if (t1 <= last) { dqkv[first + t1 * step + element] = vec4<scalar>(dq1[i] * params.scale); }
  }
  if (slice == 0 && t0 <= last) { delta[at + t0] = delta0; }
  if (slice == 0 && t1 <= last) { delta[at + t1] = delta1; }
}
