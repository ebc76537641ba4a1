// For software adapters alone: the matrix product of matmul.wgsl where a load costs as much as many
// products, because every lane's address is looked up and checked. Each lane of a subgroup loads
// one row's element of a, and the others get it from there: 16 rows cost 16 / SUBGROUP loads, where
// the plain variant makes 16.
//
// Constants: LANES, SUBGROUP (lanes of a subgroup, at most 16), LOADS = 16 / SUBGROUP, COLUMN_VEC4S
// (a thread makes four columns for each, LANES apart).

#include "matmul_store.wgsl"

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let part = part_of(group, 16);
  #if BY_EXPERT
  if (part.row >= part.M || part.K == 0u) { return; }
  #endif
  let row = part.row;
  let col = group.x * (4 * COLUMN_VEC4S * LANES) + local.x;
  // Rows and columns past the edge read the last one instead, and are not stored.
  #for i < LOADS
  let a_$i = part.a_offset + min(row + $i * SUBGROUP + lane, part.M - 1) * params.a_row;
  #endfor
  #for j < COLUMN_VEC4S, f < 4
  let b_col_$j_$f = min(col + (4 * $j + $f) * LANES, params.N - 1);
  let b_$j_$f = part.b_offset + b_col_$j_$f * params.b_col;
  #endfor
  #for i < LOADS, l < SUBGROUP, j < COLUMN_VEC4S, f < 4
  var c_$i_$l_$j_$f = 0.0;
  #endfor
  for (var k = 0u; k < part.K; k++) {
    // What this lane loads of a, for its subgroup.
    #for i < LOADS
    let a_value_$i = f32(a[a_$i + k * params.a_col]);
    #endfor
    #for j < COLUMN_VEC4S, f < 4
    let y_$j_$f = f32(b[b_$j_$f + k * params.b_row]);
    #endfor
    #for i < LOADS, l < SUBGROUP
    {
      let x = subgroupBroadcast(a_value_$i, $l);
      #for j < COLUMN_VEC4S, f < 4
      c_$i_$l_$j_$f = fma(x, y_$j_$f, c_$i_$l_$j_$f);
      #endfor
    }
    #endfor
  }
  // The sums leave their registers and are stored in a loop: store() written out for each of them
  // takes some compilers a minute.
  var sums: array<vec4f, 16 * COLUMN_VEC4S>;
  #for i < LOADS, l < SUBGROUP, j < COLUMN_VEC4S, f < 4
  sums[($i * SUBGROUP + $l) * COLUMN_VEC4S + $j][$f] = c_$i_$l_$j_$f;
  #endfor
  for (var r = 0u; r < 16u; r++) {
    for (var j = 0u; j < COLUMN_VEC4S; j++) {
      store(part, row + r, col + LANES * (4 * j + vec4u(0, 1, 2, 3)), sums[r * COLUMN_VEC4S + j]);
    }
  }
}
