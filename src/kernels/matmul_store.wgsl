// What the matrix products have in common: their bindings, and what happens to a sum before it is
// stored. Put behind matmul*.wgsl. Aliases: a_type, b_type, c_type, scalar (bias, addend, before).
// Constants, 0 or 1: BIAS, ADDEND, ACCUMULATE (what c holds is added), SLOPE (multiplied by gelu's
// slope at `before`), GELU (of what is stored, to `activated`), ALIKE or else UNLIKE (the four
// columns are inside or past the edge together). Goes before gelu.wgsl.

#include "gelu.wgsl"

struct Params {
  M: u32, N: u32, K: u32,
  a_offset: u32, a_row: u32, a_col: u32,
  b_offset: u32, b_row: u32, b_col: u32,
  c_offset: u32, c_row: u32, c_col: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<a_type>;
@group(0) @binding(2) var<storage, read> b: array<b_type>;
@group(0) @binding(3) var<storage, read_write> c: array<c_type>;
@each(_, BIAS) @group(0) @binding(4) var<storage, read> bias: array<scalar>; @end
@each(_, ADDEND) @group(0) @binding(5) var<storage, read> addend: array<scalar>; @end // contiguous, as c's shape is; the next two likewise
@each(_, SLOPE) @group(0) @binding(6) var<storage, read> before: array<scalar>; @end
@each(_, GELU) @group(0) @binding(7) var<storage, read_write> activated: array<c_type>; @end

// Four columns of a row, from the products' sums on. What lies past the edges is not stored.
// Without branches: software adapters go through the body of each, taken or not.
fn store(row: u32, columns: vec4u, sums: vec4f) {
  let inside = (columns < vec4u(params.N)) & vec4<bool>(row < params.M);
  let m = min(row, params.M - 1);
  let n = min(columns, vec4u(params.N - 1));
  let at = params.c_offset + m * params.c_row + n * params.c_col;
  let dense = m * params.N + n;
  var four = sums;
  @each(_, BIAS) four += vec4f(f32(bias[n.x]), f32(bias[n.y]), f32(bias[n.z]), f32(bias[n.w])); @end
  @each(_, ADDEND) four += vec4f(f32(addend[dense.x]), f32(addend[dense.y]), f32(addend[dense.z]), f32(addend[dense.w])); @end
  @each(_, ACCUMULATE) four += vec4f(f32(c[at.x]), f32(c[at.y]), f32(c[at.z]), f32(c[at.w])); @end
  @each(_, SLOPE) four *= gelu_slope(vec4f(f32(before[dense.x]), f32(before[dense.y]), f32(before[dense.z]), f32(before[dense.w]))); @end
  let stored = vec4<c_type>(four);
  @each(_, ALIKE) if (inside.x) { @each(f, 4) c[at[$f]] = stored[$f]; @end } @end
  @each(_, UNLIKE) @each(f, 4) if (inside[$f]) { c[at[$f]] = stored[$f]; } @end @end
  @each(_, GELU) let after = vec4<c_type>(gelu(vec4f(stored))); @each(f, 4) if (inside[$f]) { activated[dense[$f]] = after[$f]; } @end @end
}
