// c (M, N) = a (M, K) · b (K, N) [+ bias (N)] [+ addend (M, N)] [+ c], the plain way: it asks
// nothing of an adapter, and the faster ways are held against it.
//
// a, b and c are read and written through strides, so a transpose is a layout and never a copy.
// Sums are f32, in the order of k: every way to multiply makes the same bits. A thread makes ROWS ×
// 4 elements. Its columns lie one workgroup's width apart: neighbouring threads read neighbouring
// elements of b, and all of them the same element of a. Constants: LANES, ROWS. Goes before
// matmul_store.wgsl.

#include "matmul_store.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let row = group.y * ROWS;
  let col = group.x * (4 * LANES) + local.x;
  // Rows and columns past the edge read the last one instead, and are not stored.
  @each(r, ROWS) let a_$r = params.a_offset + min(row + $r, params.M - 1) * params.a_row; @end
  @each(j, 4) let b_$j = params.b_offset + min(col + $j * LANES, params.N - 1) * params.b_col; @end
  @each(r, ROWS) @each(j, 4) var c_$r_$j = 0.0; @end @end
  for (var k = 0u; k < params.K; k++) {
    @each(j, 4) let y_$j = f32(b[b_$j + k * params.b_row]); @end
    @each(r, ROWS) { let x = f32(a[a_$r + k * params.a_col]); @each(j, 4) c_$r_$j = fma(x, y_$j, c_$r_$j); @end } @end
  }
  // Out of their registers and through a loop, so that what stores them is compiled once.
  var sums: array<vec4f, ROWS>;
  @each(r, ROWS) @each(j, 4) sums[$r][$j] = c_$r_$j; @end @end
  for (var r = 0u; r < ROWS; r++) { store(row + r, col + LANES * vec4u(0, 1, 2, 3), sums[r]); }
}
