// matmul.wgsl for adapters where a load costs as much as many products: software ones, which look
// up and check every lane's address. Each lane of a subgroup loads one row's element of a, and all
// of them get it from there: 16 rows cost as many loads as the subgroup goes into 16, where the
// plain way makes 16. Constants: LANES, SUBGROUP (lanes of a subgroup, at most 16), LOADS = 16 /
// SUBGROUP, FOURS of columns. Goes before matmul_store.wgsl.

#include "matmul_store.wgsl"

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let row = group.y * 16;
  let col = group.x * (4 * FOURS * LANES) + local.x;
  // Rows and columns past the edge read the last one instead, and are not stored.
  @each(i, LOADS) let a_$i = params.a_offset + min(row + $i * SUBGROUP + lane, params.M - 1) * params.a_row; @end
  @each(j, FOURS) @each(f, 4) let b_$j_$f = params.b_offset + min(col + (4 * $j + $f) * LANES, params.N - 1) * params.b_col; @end @end
  @each(i, LOADS) @each(l, SUBGROUP) @each(j, FOURS) @each(f, 4) var c_$i_$l_$j_$f = 0.0; @end @end @end @end
  for (var k = 0u; k < params.K; k++) {
    @each(i, LOADS) let mine_$i = f32(a[a_$i + k * params.a_col]); @end
    @each(j, FOURS) @each(f, 4) let y_$j_$f = f32(b[b_$j_$f + k * params.b_row]); @end @end
    @each(i, LOADS) @each(l, SUBGROUP) { let x = subgroupBroadcast(mine_$i, $l); @each(j, FOURS) @each(f, 4) c_$i_$l_$j_$f = fma(x, y_$j_$f, c_$i_$l_$j_$f); @end @end } @end @end
  }
  // Out of their registers and through a loop: what stores them, written out for each, takes some
  // compilers a minute.
  var sums: array<vec4f, 16 * FOURS>;
  @each(i, LOADS) @each(l, SUBGROUP) @each(j, FOURS) @each(f, 4) sums[($i * SUBGROUP + $l) * FOURS + $j][$f] = c_$i_$l_$j_$f; @end @end @end @end
  for (var r = 0u; r < 16u; r++) {
    for (var j = 0u; j < FOURS; j++) {
      store(row + r, col + LANES * (4 * j + vec4u(0, 1, 2, 3)), sums[r * FOURS + j]);
    }
  }
}
