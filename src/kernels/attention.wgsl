// out = softmax(q · kᵀ / √D, causal) · v for each head, with an online softmax over blocks of eight
// keys: the (T, T) matrix is never stored. lse keeps each query's log-sum-exp for the backward
// pass. qkv (B, T, 3·C) holds q | k | v, the heads of D elements side by side in each. A lane has
// two queries, one PAIRS after the other, or one of SLICES parts of them: what it loads of a key
// serves both. How lanes share keys and rows is in attention_quads.wgsl and attention_slices.wgsl,
// one of which stands behind this text. Aliases: scalar. Constants: HEAD = D / 4, SLICES, LANES,
// UNROLL (0 or 1).

#include <lanes>

struct Params { T: u32, H: u32, scale: f32, width: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<scalar>>; // (B, T, 3, H, HEAD)
@group(0) @binding(2) var<storage, read_write> out: array<vec4<scalar>>; // (B, T, H, HEAD)
@group(0) @binding(3) var<storage, read_write> lse: array<f32>; // (B, H, T)

const WIDTH = (HEAD + SLICES - 1) / SLICES; // vectors that a lane has of a row
const PAIRS = LANES / SLICES; // of queries that a workgroup has

fn four(at: vec4u) -> mat4x4f {
  return together(vec4f(qkv[at.x]), vec4f(qkv[at.y]), vec4f(qkv[at.z]), vec4f(qkv[at.w]));
}

/**
 * What a query knows after a block: the block's weights, the largest score so far, the sum of all
 * weights so far, and the factor that turns what was summed before into terms of that score.
 */
struct Seen { near: vec4f, far: vec4f, largest: f32, total: f32, shrunk: f32 }

/** Query t meets keys j to j + 7, with scores near and far. */
fn see(before: Seen, near: vec4f, far: vec4f, j: u32, t: u32) -> Seen {
  let keys = vec4u(j) + vec4u(0, 1, 2, 3);
  let s0 = select(near, vec4f(-3.4e38), keys > vec4u(t));
  let s1 = select(far, vec4f(-3.4e38), keys + 4 > vec4u(t));
  let four = max(s0, s1);
  var now: Seen;
  now.largest = max(before.largest, max(max(four.x, four.y), max(four.z, four.w)));
  now.near = exp(s0 - now.largest);
  now.far = exp(s1 - now.largest);
  now.shrunk = exp(before.largest - now.largest);
  now.total = before.total * now.shrunk + dot(now.near + now.far, vec4f(1));
  return now;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let h = group.y;
  let b = group.z;
  let start = group.x * 2 * PAIRS;
  let last = min(start + 2 * PAIRS, params.T) - 1; // of the keys that the workgroup's queries see
  let t0 = start + lane / SLICES;
  let t1 = t0 + PAIRS;
  let slice = lane % SLICES;
  // Known to the compiler, a head's loops unroll, and its vectors stay in a GPU's registers. A
  // software adapter takes seconds for that, and gains little.
  let width = select(params.width, WIDTH, UNROLL == 1u);
  let step = 3 * params.H * HEAD; // from one position to the next
  let first = b * params.T * step + h * HEAD;
  let k0 = first + params.H * HEAD;
  let v0 = k0 + params.H * HEAD;
  let row0 = first + min(t0, last) * step;
  let row1 = first + min(t1, last) * step;
  var q0: array<vec4f, WIDTH>;
  var q1: array<vec4f, WIDTH>;
  var sum0: array<vec4f, WIDTH>;
  var sum1: array<vec4f, WIDTH>;
  for (var i = 0u; i < width; i++) {
    // Past the head's end a part has zeros.
    let element = min(i * SLICES + slice, HEAD - 1);
    let scale = select(params.scale, 0.0, i * SLICES + slice >= HEAD);
    q0[i] = vec4f(qkv[row0 + element]) * scale;
    q1[i] = vec4f(qkv[row1 + element]) * scale;
    sum0[i] = vec4f();
    sum1[i] = vec4f();
  }
  var seen0: Seen;
  var seen1: Seen;
  seen0.largest = -3.4e38;
  seen1.largest = -3.4e38;
  for (var j = 0u; j <= last; j += 8) {
    let at0 = min(positions(j, lane), vec4u(last)) * step;
    let at1 = min(positions(j + 4, lane), vec4u(last)) * step;
    var s = mat4x4f();
    for (var i = 0u; i < width; i++) {
      let element = k0 + min(i * SLICES + slice, HEAD - 1);
      let near = four(at0 + element);
      let far = four(at1 + element);
      s[0] += q0[i] * near;
      s[1] += q0[i] * far;
      s[2] += q1[i] * near;
      s[3] += q1[i] * far;
    }
    s = whole(s, lane);
    seen0 = see(seen0, s[0], s[1], j, t0);
    seen1 = see(seen1, s[2], s[3], j, t1);
    for (var i = 0u; i < width; i++) {
      let element = v0 + min(i * SLICES + slice, HEAD - 1);
      let near = four(at0 + element);
      let far = four(at1 + element);
      sum0[i] = sum0[i] * seen0.shrunk + near * seen0.near + far * seen0.far;
      sum1[i] = sum1[i] * seen1.shrunk + near * seen1.near + far * seen1.far;
    }
  }
  for (var i = 0u; i < width; i++) {
    let element = h * HEAD + i * SLICES + slice;
    if (i * SLICES + slice >= HEAD) { continue; }
    if (t0 <= last) { out[(b * params.T + t0) * params.H * HEAD + element] = vec4<scalar>(sum0[i] / seen0.total); }
    if (t1 <= last) { out[(b * params.T + t1) * params.H * HEAD + element] = vec4<scalar>(sum1[i] / seen1.total); }
  }
  let at = (b * params.H + h) * params.T;
  if (slice == 0 && t0 <= last) { lse[at + t0] = seen0.largest + log(seen0.total); }
  if (slice == 0 && t1 <= last) { lse[at + t1] = seen1.largest + log(seen1.total); }
}
