// c (M, N) = a (M, K) · b (K, N), and what matmul_store.wgsl adds to it. The plain variant: it
// needs nothing of an adapter, and the faster variants are checked against it.
//
// a, b and c are read and written through strides, so a transpose is a layout and never a copy.
// Sums are f32 in the order of k, so every variant makes the same bits. A thread makes ROWS × 4
// elements. Its columns are LANES apart: neighbouring threads read neighbouring elements of b, and
// all of them read the same element of a.
//
// Constants: LANES (threads of a workgroup), ROWS.

#include "matmul_store.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let part = part_of(group, ROWS);
  #if BY_EXPERT
  if (part.row >= part.M || part.K == 0u) { return; }
  #endif
  let row = part.row;
  let col = group.x * (4 * LANES) + local.x;
  // Rows and columns past the edge read the last one instead, and are not stored.
  #for r < ROWS
  let a_$r = part.a_offset + min(row + $r, part.M - 1) * params.a_row;
  #endfor
  #for j < 4
  let b_$j = part.b_offset + min(col + $j * LANES, params.N - 1) * params.b_col;
  #endfor
  #for r < ROWS, j < 4
  var c_$r_$j = 0.0;
  #endfor
  for (var k = 0u; k < part.K; k++) {
    #for j < 4
    let y_$j = f32(b[b_$j + k * params.b_row]);
    #endfor
    #for r < ROWS
    {
      let x = f32(a[a_$r + k * params.a_col]);
      #for j < 4
      c_$r_$j = fma(x, y_$j, c_$r_$j);
      #endfor
    }
    #endfor
  }
  // The sums leave their registers and are stored in a loop, so that store() is compiled once.
  var sums: array<vec4f, ROWS>;
  #for r < ROWS, j < 4
  sums[$r][$j] = c_$r_$j;
  #endfor
  for (var r = 0u; r < ROWS; r++) {
    store(part, row + r, col + LANES * vec4u(0, 1, 2, 3), sums[r]);
  }
}
