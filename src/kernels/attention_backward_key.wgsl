// Differentiates out = p · v, p = softmax(s), s = q · kᵀ / √D, of attention.wgsl with respect to k
// and v: dv = Σ p · dout and dk = Σ ds · q / √D over the queries that see the key, ds = p (dout · v
// − delta). A lane has two keys, as it has two queries in attention.wgsl, and takes eight queries
// at a time. Runs after attention_backward_query.wgsl, which leaves delta. Aliases: scalar.
// Constants: HEAD = D / 4, SLICES, LANES, UNROLL (0 or 1).

#include <lanes>

struct Params { T: u32, H: u32, scale: f32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<scalar>>; // (B, T, 3, H, HEAD)
@group(0) @binding(2) var<storage, read> dout: array<vec4<scalar>>; // (B, T, H, HEAD)
@group(0) @binding(3) var<storage, read> lse: array<f32>; // (B, H, T)
@group(0) @binding(4) var<storage, read> delta: array<f32>; // (B, H, T)
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4<scalar>>; // (B, T, 3, H, HEAD)

const WIDTH = (HEAD + SLICES - 1) / SLICES; // vectors that a lane has of a row
const PAIRS = LANES / SLICES; // of keys that a workgroup has

fn four_qkv(at: vec4u) -> mat4x4f {
  return together(vec4f(qkv[at.x]), vec4f(qkv[at.y]), vec4f(qkv[at.z]), vec4f(qkv[at.w]));
}

fn four_dout(at: vec4u) -> mat4x4f {
  return together(vec4f(dout[at.x]), vec4f(dout[at.y]), vec4f(dout[at.z]), vec4f(dout[at.w]));
}

fn query(at: u32) -> vec4f {
  return vec4f(lse[at], delta[at], 0, 0);
}

/** Of four queries: lse in the first column, delta in the second. */
fn four_queries(at: vec4u) -> mat4x4f {
  return transpose(together(query(at.x), query(at.y), query(at.z), query(at.w)));
}

/** p of key j and four queries from t on. */
fn weights(s: vec4f, j: u32, t: u32, lse: vec4f) -> vec4f {
  let queries = vec4u(t) + vec4u(0, 1, 2, 3);
  return select(vec4f(), exp(s - lse), (queries >= vec4u(j)) & (queries < vec4u(params.T)));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let h = group.y;
  let b = group.z;
  let start = group.x * 2 * PAIRS; // of the workgroup's keys, and of the queries that see one of them
  let last = params.T - 1;
  let j0 = start + lane / SLICES;
  let j1 = j0 + PAIRS;
  let slice = lane % SLICES;
  // Known to the compiler, a head's loops unroll, and its vectors stay in a GPU's registers. A
  // software adapter takes seconds for that, and gains little.
  let width = select(params.width, WIDTH, UNROLL == 1u);
  let out_step = params.H * HEAD; // from one position to the next
  let step = 3 * out_step;
  let first = b * params.T * step + h * HEAD;
  let out_first = b * params.T * out_step + h * HEAD;
  let key0 = first + out_step + min(j0, last) * step;
  let key1 = first + out_step + min(j1, last) * step;
  let at = (b * params.H + h) * params.T;
  var k0: array<vec4f, WIDTH>;
  var k1: array<vec4f, WIDTH>;
  var v0: array<vec4f, WIDTH>;
  var v1: array<vec4f, WIDTH>;
  var dk0: array<vec4f, WIDTH>;
  var dk1: array<vec4f, WIDTH>;
  var dv0: array<vec4f, WIDTH>;
  var dv1: array<vec4f, WIDTH>;
  for (var i = 0u; i < width; i++) {
    // Past the head's end a part has zeros.
    let element = min(i * SLICES + slice, HEAD - 1);
    let inside = select(1.0, 0.0, i * SLICES + slice >= HEAD);
    k0[i] = vec4f(qkv[key0 + element]) * params.scale * inside;
    k1[i] = vec4f(qkv[key1 + element]) * params.scale * inside;
    v0[i] = vec4f(qkv[key0 + out_step + element]) * inside;
    v1[i] = vec4f(qkv[key1 + out_step + element]) * inside;
    dk0[i] = vec4f();
    dk1[i] = vec4f();
    dv0[i] = vec4f();
    dv1[i] = vec4f();
  }
  for (var t = start; t < params.T; t += 8) {
    let row0 = min(positions(t, lane), vec4u(last));
    let row1 = min(positions(t + 4, lane), vec4u(last));
    var s = mat4x4f();
    var dp = mat4x4f();
    for (var i = 0u; i < width; i++) {
      let element = min(i * SLICES + slice, HEAD - 1);
      let q_near = four_qkv(row0 * step + first + element);
      let q_far = four_qkv(row1 * step + first + element);
      s[0] += k0[i] * q_near;
      s[1] += k0[i] * q_far;
      s[2] += k1[i] * q_near;
      s[3] += k1[i] * q_far;
      let dout_near = four_dout(row0 * out_step + out_first + element);
      let dout_far = four_dout(row1 * out_step + out_first + element);
      dp[0] += v0[i] * dout_near;
      dp[1] += v0[i] * dout_far;
      dp[2] += v1[i] * dout_near;
      dp[3] += v1[i] * dout_far;
    }
    s = whole(s, lane);
    dp = whole(dp, lane);
    let near = four_queries(row0 + at);
    let far = four_queries(row1 + at);
    let p_near0 = weights(s[0], j0, t, near[0]);
    let p_far0 = weights(s[1], j0, t + 4, far[0]);
    let p_near1 = weights(s[2], j1, t, near[0]);
    let p_far1 = weights(s[3], j1, t + 4, far[0]);
    let ds_near0 = p_near0 * (dp[0] - near[1]) * params.scale;
    let ds_far0 = p_far0 * (dp[1] - far[1]) * params.scale;
    let ds_near1 = p_near1 * (dp[2] - near[1]) * params.scale;
    let ds_far1 = p_far1 * (dp[3] - far[1]) * params.scale;
    for (var i = 0u; i < width; i++) {
      let element = min(i * SLICES + slice, HEAD - 1);
      let q_near = four_qkv(row0 * step + first + element);
      let q_far = four_qkv(row1 * step + first + element);
      dk0[i] += q_near * ds_near0 + q_far * ds_far0;
      dk1[i] += q_near * ds_near1 + q_far * ds_far1;
      let dout_near = four_dout(row0 * out_step + out_first + element);
      let dout_far = four_dout(row1 * out_step + out_first + element);
      dv0[i] += dout_near * p_near0 + dout_far * p_far0;
      dv1[i] += dout_near * p_near1 + dout_far * p_far1;
    }
  }
  for (var i = 0u; i < width; i++) {
    let element = i * SLICES + slice;
    if (element >= HEAD) { continue; }
    if (j0 <= last) {
      dqkv[key0 + element] = vec4<scalar>(dk0[i]);
      dqkv[key0 + out_step + element] = vec4<scalar>(dv0[i]);
    }
    if (j1 <= last) {
      dqkv[key1 + element] = vec4<scalar>(dk1[i]);
      dqkv[key1 + out_step + element] = vec4<scalar>(dv1[i]);
    }
  }
}
