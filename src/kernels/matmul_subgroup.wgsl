// matmul.wgsl for adapters where a load costs as much as many products: software ones, which look up and check every lane's address.
// Each lane of a subgroup loads one row's element of a, and all of them get it from there: 16 rows cost as many loads as the subgroup
// goes into 16, where the plain way makes 16.
// Constants: LANES, SUBGROUP (lanes of a subgroup, at most 16), LOADS = 16 / SUBGROUP, COLUMNS. Goes before matmul_store.wgsl.

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let row = group.y * 16;
  let col = group.x * (COLUMNS * LANES) + local.x;
  // Rows and columns past the edge read the last one instead, and are not stored.
  @each(i, LOADS) let a_$i = params.a_offset + min(row + $i * SUBGROUP + lane, params.M - 1) * params.a_row; @end
  @each(j, COLUMNS) let b_$j = params.b_offset + min(col + $j * LANES, params.N - 1) * params.b_col; @end
  @each(i, LOADS) @each(l, SUBGROUP) @each(j, COLUMNS) var c_$i_$l_$j = 0.0; @end @end @end
  for (var k = 0u; k < params.K; k++) {
    @each(i, LOADS) let mine_$i = f32(a[a_$i + k * params.a_col]); @end
    @each(j, COLUMNS) let y_$j = f32(b[b_$j + k * params.b_row]); @end
    @each(i, LOADS) @each(l, SUBGROUP) { let x = subgroupBroadcast(mine_$i, $l); @each(j, COLUMNS) c_$i_$l_$j = fma(x, y_$j, c_$i_$l_$j); @end } @end @end
  }
  // Out of their registers and through a loop: what stores an element, written out 128 times, takes some compilers a minute.
  var sums: array<f32, 16 * COLUMNS>;
  @each(i, LOADS) @each(l, SUBGROUP) @each(j, COLUMNS) sums[($i * SUBGROUP + $l) * COLUMNS + $j] = c_$i_$l_$j; @end @end @end
  for (var r = 0u; r < 16u; r++) {
    for (var j = 0u; j < COLUMNS; j++) { store(row + r, col + j * LANES, sums[r * COLUMNS + j]); }
  }
}
