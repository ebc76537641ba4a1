// Backward of head_norm.wgsl with respect to its gains. For y = turn(x̂ · gain), x̂ = x · rrms:
//
//   dgains (2, D) += Σ turn back(dy) · x̂, over rows and the heads of q, or of k
//
// Runs before head_norm_backward.wgsl, which overwrites dy. Aliases: scalar.
// Constants: LANES (threads that share a column).

#include "columns.wgsl"

struct Params { T: u32, rows: u32, NH: u32, NKV: u32, half_size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, NH + 2 NKV, D)
@group(0) @binding(2) var<storage, read> table: array<vec2f>; // (T, D / 2): cosine, sine
@group(0) @binding(3) var<storage, read> rrms: array<f32>; // (rows, NH + NKV)
@group(0) @binding(4) var<storage, read> dy: array<scalar>; // (rows, NH + 2 NKV, D)
@group(0) @binding(5) var<storage, read_write> dgains: array<f32>; // (2, D)

alias column_value = f32;

@compute @workgroup_size(16, LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let c = group.x * 16 + local.x;
  let D = 2 * params.half_size;
  let column = min(c, 2 * D - 1);
  let first_head = select(0u, params.NH, column >= D);
  let heads = select(params.NH, params.NKV, column >= D);
  let normed = params.NH + params.NKV;
  let d = column % D;
  let i = d % params.half_size;
  var sum = 0.0;
  for (var n = local.y; n < params.rows * heads; n += LANES) {
    let row = n / heads;
    let head = first_head + n % heads;
    let first = (row * (normed + params.NKV) + head) * D;
    let turn = table[(row % params.T) * params.half_size + i];
    let pair = vec2f(f32(dy[first + i]), f32(dy[first + i + params.half_size]));
    let back = vec2f(pair.x * turn.x + pair.y * turn.y, pair.y * turn.x - pair.x * turn.y);
    let dnormed = select(back.x, back.y, d >= params.half_size);
    sum += dnormed * f32(x[first + d]) * rrms[row * normed + head];
  }
  let total = column_total(sum, local);
  if (local.y == 0u && c < 2 * D) { dgains[c] += total; }
}
