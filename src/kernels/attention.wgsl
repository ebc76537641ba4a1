// out = softmax(q · kᵀ / √D, causal) · v for each head, one thread a query, with an online softmax: the (T, T) matrix is
// never stored. lse keeps each query's log-sum-exp for the backward pass.
// qkv (B, T, 3·C) holds q | k | v, the heads of D elements side by side in each.
// Aliases: scalar. Constants: HEAD = D / 4, UNROLL (0 or 1).

struct Params { T: u32, H: u32, scale: f32, D4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<scalar>>; // (B, T, 3, H, HEAD)
@group(0) @binding(2) var<storage, read_write> out: array<vec4<scalar>>; // (B, T, H, HEAD)
@group(0) @binding(3) var<storage, read_write> lse: array<f32>; // (B, H, T)

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let t = id.x;
  let h = id.y;
  let b = id.z;
  if (t >= params.T) { return; }
  // Known to the compiler, a head's loops unroll, and its vectors stay in a GPU's registers. A software adapter spends a
  // minute on that for heads of 64.
  let width = select(params.D4, HEAD, UNROLL == 1u);
  let step = 3 * params.H * HEAD; // from one position to the next
  let first = b * params.T * step + h * HEAD;
  let k0 = first + params.H * HEAD;
  let v0 = k0 + params.H * HEAD;
  var q: array<vec4f, HEAD>;
  var sum: array<vec4f, HEAD>;
  for (var i = 0u; i < width; i++) {
    q[i] = vec4f(qkv[first + t * step + i]) * params.scale;
    sum[i] = vec4f();
  }
  var largest = -3.4e38;
  var total = 0.0;
  for (var j = 0u; j <= t; j++) {
    var s = 0.0;
    for (var i = 0u; i < width; i++) { s += dot(q[i], vec4f(qkv[k0 + j * step + i])); }
    let larger = max(largest, s);
    let old = exp(largest - larger);
    let p = exp(s - larger);
    total = total * old + p;
    for (var i = 0u; i < width; i++) { sum[i] = sum[i] * old + p * vec4f(qkv[v0 + j * step + i]); }
    largest = larger;
  }
  for (var i = 0u; i < width; i++) {
    out[((b * params.T + t) * params.H + h) * HEAD + i] = vec4<scalar>(sum[i] / total);
  }
  lse[(b * params.H + h) * params.T + t] = largest + log(total);
}
