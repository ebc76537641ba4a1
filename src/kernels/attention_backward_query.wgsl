// Differentiates out = p · v, p = softmax(s), s = q · kᵀ / √D, of attention.wgsl with respect to q, one thread a query:
// dp = dout · vᵀ, ds = p (dp − delta), dq = ds · k / √D, with delta = Σ dout · out, which is kept for the keys' pass.
// p is made again from the scores and lse.
// Aliases: scalar. Constants: HEAD = D / 4, UNROLL (0 or 1).

struct Params { T: u32, H: u32, scale: f32, D4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<scalar>>; // (B, T, 3, H, HEAD)
@group(0) @binding(2) var<storage, read> out: array<vec4<scalar>>; // (B, T, H, HEAD)
@group(0) @binding(3) var<storage, read> dout: array<vec4<scalar>>; // (B, T, H, HEAD)
@group(0) @binding(4) var<storage, read> lse: array<f32>; // (B, H, T)
@group(0) @binding(5) var<storage, read_write> delta: array<f32>; // (B, H, T)
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4<scalar>>; // (B, T, 3, H, HEAD)

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let t = id.x;
  let h = id.y;
  let b = id.z;
  if (t >= params.T) { return; }
  // Known to the compiler, a head's loops unroll, and its vectors stay in a GPU's registers. A software adapter spends a
  // minute on that for heads of 64.
  let width = select(params.D4, HEAD, UNROLL == 1u);
  let step = 3 * params.H * HEAD;
  let first = b * params.T * step + h * HEAD;
  let k0 = first + params.H * HEAD;
  let v0 = k0 + params.H * HEAD;
  let row = ((b * params.T + t) * params.H + h) * HEAD;
  let at = (b * params.H + h) * params.T + t;
  var q: array<vec4f, HEAD>;
  var grad: array<vec4f, HEAD>;
  var dq: array<vec4f, HEAD>;
  var own = 0.0;
  for (var i = 0u; i < width; i++) {
    q[i] = vec4f(qkv[first + t * step + i]) * params.scale;
    grad[i] = vec4f(dout[row + i]);
    own += dot(grad[i], vec4f(out[row + i]));
    dq[i] = vec4f();
  }
  for (var j = 0u; j <= t; j++) {
    var s = 0.0;
    var dp = 0.0;
    for (var i = 0u; i < width; i++) {
      s += dot(q[i], vec4f(qkv[k0 + j * step + i]));
      dp += dot(grad[i], vec4f(qkv[v0 + j * step + i]));
    }
    let ds = exp(s - lse[at]) * (dp - own);
    for (var i = 0u; i < width; i++) { dq[i] += ds * vec4f(qkv[k0 + j * step + i]); }
  }
  for (var i = 0u; i < width; i++) { dqkv[first + t * step + i] = vec4<scalar>(dq[i] * params.scale); }
  delta[at] = own;
}
