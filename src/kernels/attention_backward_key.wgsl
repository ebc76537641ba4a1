// Differentiates out = p · v, p = softmax(s), s = q · kᵀ / √D, of attention.wgsl with respect to k and v, one thread a key:
// dv = Σ p · dout and dk = Σ ds · q / √D over the queries that see the key, ds = p (dout · v − delta).
// Runs after attention_backward_query.wgsl, which leaves delta.
// Aliases: scalar. Constants: HEAD = D / 4, UNROLL (0 or 1).

struct Params { T: u32, H: u32, scale: f32, D4: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<scalar>>; // (B, T, 3, H, HEAD)
@group(0) @binding(2) var<storage, read> dout: array<vec4<scalar>>; // (B, T, H, HEAD)
@group(0) @binding(3) var<storage, read> lse: array<f32>; // (B, H, T)
@group(0) @binding(4) var<storage, read> delta: array<f32>; // (B, H, T)
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4<scalar>>; // (B, T, 3, H, HEAD)

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let j = id.x;
  let h = id.y;
  let b = id.z;
  if (j >= params.T) { return; }
  // Known to the compiler, a head's loops unroll, and its vectors stay in a GPU's registers. A software adapter spends a
  // minute on that for heads of 64.
  let width = select(params.D4, HEAD, UNROLL == 1u);
  let step = 3 * params.H * HEAD;
  let first = b * params.T * step + h * HEAD;
  let k0 = first + params.H * HEAD;
  let v0 = k0 + params.H * HEAD;
  let at = (b * params.H + h) * params.T;
  var k: array<vec4f, HEAD>;
  var v: array<vec4f, HEAD>;
  var dk: array<vec4f, HEAD>;
  var dv: array<vec4f, HEAD>;
  for (var i = 0u; i < width; i++) {
    k[i] = vec4f(qkv[k0 + j * step + i]) * params.scale;
    v[i] = vec4f(qkv[v0 + j * step + i]);
    dk[i] = vec4f();
    dv[i] = vec4f();
  }
  for (var t = j; t < params.T; t++) {
    let row = ((b * params.T + t) * params.H + h) * HEAD;
    var s = 0.0;
    var dp = 0.0;
    for (var i = 0u; i < width; i++) {
      s += dot(k[i], vec4f(qkv[first + t * step + i]));
      dp += dot(v[i], vec4f(dout[row + i]));
    }
    let p = exp(s - lse[at + t]);
    let ds = p * (dp - delta[at + t]) * params.scale;
    for (var i = 0u; i < width; i++) {
      dv[i] += p * vec4f(dout[row + i]);
      dk[i] += ds * vec4f(qkv[first + t * step + i]);
    }
  }
  for (var i = 0u; i < width; i++) {
    dqkv[k0 + j * step + i] = vec4<scalar>(dk[i]);
    dqkv[v0 + j * step + i] = vec4<scalar>(dv[i]);
  }
}
