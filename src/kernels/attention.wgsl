// Causal self-attention for each head: out = softmax(s) · v, s = q · kᵀ / √D. An online softmax
// over blocks of eight keys keeps running sums, so the (T, T) matrix is never stored. lse holds
// each query's log-sum-exp for the backward pass.
//
// qkv (B, T, (NH + 2 NKV)·D) holds q | k | v, each with its heads of D elements side by side. NH /
// NKV query heads in a row share a head of keys and values. A lane holds two queries, PAIRS apart,
// or one of SLICES slices of them, so that one load of a key serves both. How lanes share rows and
// loads is in the file included as <lanes>: attention_slices.wgsl on GPUs,
// software/attention_quads.wgsl on software adapters.
//
// Aliases: scalar. Constants: HEAD = D / 4, SLICES, LANES, UNROLL (0 or 1),
// WINDOW (0 or 1: whether a query sees only the last `window` keys), DOCUMENTS (0 or 1: whether it
// sees only those of its own document).

#include <lanes>

struct Params {
  T: u32,
  NH: u32,
  NKV: u32,
  scale: f32,
  width: u32,
  window: u32, // keys that a query sees, its own included; used if WINDOW is 1
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<scalar>>; // (B, T, NH + 2 NKV, HEAD)
@group(0) @binding(2) var<storage, read_write> out: array<vec4<scalar>>; // (B, T, NH, HEAD)
@group(0) @binding(3) var<storage, read_write> lse: array<f32>; // (B, NH, T)
#if DOCUMENTS
// (B, T): where in its row each token's document begins, and where the next one does.
@group(0) @binding(4) var<storage, read> documents: array<vec2u>;
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

/** Whether a query that sees the keys `seen.x` to `seen.y` does not see these. */
fn hidden(keys: vec4u, seen: vec2u) -> vec4<bool> {
  return (keys < vec4u(seen.x)) | (keys > vec4u(seen.y));
}

/** The running softmax of a query, after a block of eight keys. */
struct Softmax {
  p_lo: vec4f, // exp(s − largest) of the block's first four keys
  p_hi: vec4f, // and of its last four
  largest: f32, // score so far
  total: f32, // of exp(s − largest) so far
  rescale: f32, // turns sums made before this block into terms of the new largest score
}

/** A query that sees the keys `seen` goes on to keys j to j + 7, with scores s_lo and s_hi. */
fn next_block(last: Softmax, s_lo: vec4f, s_hi: vec4f, j: u32, seen: vec2u) -> Softmax {
  let keys = vec4u(j) + vec4u(0, 1, 2, 3);
  let s0 = select(s_lo, vec4f(-3.4e38), hidden(keys, seen));
  let s1 = select(s_hi, vec4f(-3.4e38), hidden(keys + 4, seen));
  let largest4 = max(s0, s1);
  var next: Softmax;
  next.largest =
    max(last.largest, max(max(largest4.x, largest4.y), max(largest4.z, largest4.w)));
  next.p_lo = exp(s0 - next.largest);
  next.p_hi = exp(s1 - next.largest);
  next.rescale = exp(last.largest - next.largest);
  next.total = last.total * next.rescale + dot(next.p_lo + next.p_hi, vec4f(1));
  return next;
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
  // A width known to the compiler unrolls the loops over a row, so that its vectors stay in a GPU's
  // registers. On a software adapter that takes seconds and gains little.
  let width = select(params.width, WIDTH, UNROLL == 1u);
  let step = (params.NH + 2 * params.NKV) * HEAD; // from one position to the next
  let first = b * params.T * step + h * HEAD;
  let k0 = b * params.T * step + (params.NH + h * params.NKV / params.NH) * HEAD;
  let v0 = k0 + params.NKV * HEAD;
  let row0 = first + min(t0, last) * step;
  let row1 = first + min(t1, last) * step;
  var q0: array<vec4f, WIDTH>;
  var q1: array<vec4f, WIDTH>;
  var sum0: array<vec4f, WIDTH>;
  var sum1: array<vec4f, WIDTH>;
  for (var i = 0u; i < width; i++) {
    // Past the head's end a slice has zeros.
    let element = min(i * SLICES + slice, HEAD - 1);
    let scale = select(params.scale, 0.0, i * SLICES + slice >= HEAD);
    q0[i] = vec4f(qkv[row0 + element]) * scale;
    q1[i] = vec4f(qkv[row1 + element]) * scale;
    sum0[i] = vec4f();
    sum1[i] = vec4f();
  }
  var softmax0: Softmax;
  var softmax1: Softmax;
  softmax0.largest = -3.4e38;
  softmax1.largest = -3.4e38;
  let seen0 = vec2u(first_key(b, t0), t0);
  let seen1 = vec2u(first_key(b, t1), t1);
  // No query sees a key before `begin`. One may see nothing of the first blocks: what it sums
  // there, the first key that it sees scales by exp(−3.4e38 − s) = 0.
  let begin = first_key(b, start) / 8 * 8;
  for (var j = begin; j <= last; j += 8) {
    let at0 = min(load_positions(j, lane), vec4u(last)) * step;
    let at1 = min(load_positions(j + 4, lane), vec4u(last)) * step;
    var s = mat4x4f();
    for (var i = 0u; i < width; i++) {
      let element = k0 + min(i * SLICES + slice, HEAD - 1);
      let k_lo = load4(at0 + element);
      let k_hi = load4(at1 + element);
      s[0] += q0[i] * k_lo;
      s[1] += q0[i] * k_hi;
      s[2] += q1[i] * k_lo;
      s[3] += q1[i] * k_hi;
    }
    s = row_sum4(s, lane);
    softmax0 = next_block(softmax0, s[0], s[1], j, seen0);
    softmax1 = next_block(softmax1, s[2], s[3], j, seen1);
    for (var i = 0u; i < width; i++) {
      let element = v0 + min(i * SLICES + slice, HEAD - 1);
      let v_lo = load4(at0 + element);
      let v_hi = load4(at1 + element);
      sum0[i] = sum0[i] * softmax0.rescale + v_lo * softmax0.p_lo + v_hi * softmax0.p_hi;
      sum1[i] = sum1[i] * softmax1.rescale + v_lo * softmax1.p_lo + v_hi * softmax1.p_hi;
    }
  }
  for (var i = 0u; i < width; i++) {
    let element = h * HEAD + i * SLICES + slice;
    if (i * SLICES + slice >= HEAD) { continue; }
    let out0 = (b * params.T + t0) * params.NH * HEAD + element;
    let out1 = (b * params.T + t1) * params.NH * HEAD + element;
    if (t0 <= last) { out[out0] = vec4<scalar>(sum0[i] / softmax0.total); }
    if (t1 <= last) { out[out1] = vec4<scalar>(sum1[i] / softmax1.total); }
  }
  let at = (b * params.NH + h) * params.T;
  if (slice == 0 && t0 <= last) { lse[at + t0] = softmax0.largest + log(softmax0.total); }
  if (slice == 0 && t1 <= last) { lse[at + t1] = softmax1.largest + log(softmax1.total); }
}
