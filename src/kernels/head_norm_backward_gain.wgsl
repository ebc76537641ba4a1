// Backward of head_norm.wgsl with respect to its gains. For y = turn(x̂ · gain), x̂ = x · rrms:
//
//   dgains (q_size + k_size) += Σ turn back(dy) · x̂, over rows and the units of q, or of k
//
// Runs before head_norm_backward.wgsl, which overwrites dy. Aliases: scalar.
// Constants: LANES (threads that share a column).

#include "columns.wgsl"
#include "head_units.wgsl"

struct Params { T: u32, rows: u32, NQ: u32, NK: u32, q_size: u32, k_size: u32, half_size: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, q | k | v)
@group(0) @binding(2) var<storage, read> table: array<vec2f>; // (T, D / 2): cosine, sine
@group(0) @binding(3) var<storage, read> rrms: array<f32>; // (rows, NQ + NK)
@group(0) @binding(4) var<storage, read> dy: array<scalar>; // (rows, q | k | v)
@group(0) @binding(5) var<storage, read_write> dgains: array<f32>; // (q_size + k_size)

alias column_value = f32;

@compute @workgroup_size(16, LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let c = group.x * 16 + local.x;
  let columns = params.q_size + params.k_size;
  let column = min(c, columns - 1);
  let of_k = column >= params.q_size;
  let first_unit = select(0u, params.NQ, of_k);
  let units = select(params.NQ, params.NK, of_k);
  let normed = params.NQ + params.NK;
  let d = column - select(0u, params.q_size, of_k);
  let D = 2 * params.half_size;
  let i = d / D * D + d % params.half_size;
  var sum = 0.0;
  for (var n = local.y; n < params.rows * units; n += LANES) {
    let row = n / units;
    let index = first_unit + n % units;
    let first = unit_at(row, index).first;
    let turn = table[(row % params.T) * params.half_size + d % params.half_size];
    let pair = vec2f(f32(dy[first + i]), f32(dy[first + i + params.half_size]));
    let back = vec2f(pair.x * turn.x + pair.y * turn.y, pair.y * turn.x - pair.x * turn.y);
    let dnormed = select(back.x, back.y, d % D >= params.half_size);
    sum += dnormed * f32(x[first + d]) * rrms[row * normed + index];
  }
  let total = column_total(sum, local);
  if (local.y == 0u && c < columns) { dgains[c] += total; }
}
