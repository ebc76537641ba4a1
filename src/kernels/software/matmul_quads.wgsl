// matmul.wgsl for software adapters whose subgroups are quads, where a load costs as much as a
// dozen products, one of four neighbours little more, and handing a lane's number to its quad next
// to nothing. 16 · SIXTEENS rows × FOURS fours of columns a thread, four k at a time. a and b lie
// so that fours can be loaded: see `fours` in matmul-ways.ts. Constants: LANES, SIXTEENS, FOURS; of
// each operand, either A_DEEP or A_ACROSS (B_…) is 1: its fours lie along k, or across it. Goes
// before matmul_store.wgsl.

#include "matmul_store.wgsl"

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
  let row = group.y * (16 * SIXTEENS);
  let four = group.x * (FOURS * LANES) + local.x; // of columns
  let lane = subgroup_lane % 4;
  // Rows and columns past the edge read the last ones instead, and are not stored.
  @each(_, A_DEEP) @each(h, SIXTEENS) @each(i, 4) let a_$h_$i = (params.a_offset + min(row + 16 * $h + 4 * $i + lane, params.M - 1) * params.a_row) / 4; @end @end @end
  @each(_, A_ACROSS) @each(h, SIXTEENS) let a_$h = params.a_offset / 4 + min(row / 4 + 4 * $h + lane, params.M / 4 - 1); @end @end
  @each(_, B_DEEP) @each(j, FOURS) @each(f, 4) let b_$j_$f = (params.b_offset + min(4 * (four + $j * LANES) + $f, params.N - 1) * params.b_col) / 4; @end @end @end
  @each(_, B_ACROSS) @each(j, FOURS) let b_$j = params.b_offset / 4 + min(four + $j * LANES, params.N / 4 - 1); @end @end
  @each(h, SIXTEENS) @each(i, 4) @each(l, 4) @each(j, FOURS) var c_$h_$i_$l_$j = vec4f(); @end @end @end @end
  // Read here, for some compilers would read them again at each k.
  let K = params.K;
  let a_step = params.a_col / 4;
  let b_step = params.b_row / 4;
  for (var k = 0u; k < K; k += 4) {
    @each(_, A_DEEP) @each(h, SIXTEENS) @each(i, 4) let mine_$h_$i = vec4f(a[a_$h_$i + k / 4]); @end @end @end
    @each(_, A_ACROSS) @each(h, SIXTEENS) @each(u, 4) let mine_$h_$u = vec4f(a[a_$h + (k + $u) * a_step]); @end @end @end
    @each(_, B_DEEP) @each(j, FOURS) @each(f, 4) let z_$j_$f = vec4f(b[b_$j_$f + k / 4]); @end @end @end
    @each(u, 4) {
      @each(_, B_DEEP) @each(j, FOURS) let y_$j = vec4f(z_$j_0[$u], z_$j_1[$u], z_$j_2[$u], z_$j_3[$u]); @end @end
      @each(_, B_ACROSS) @each(j, FOURS) let y_$j = vec4f(b[b_$j + (k + $u) * b_step]); @end @end
      @each(h, SIXTEENS) @each(i, 4) @each(l, 4) {
        @each(_, A_DEEP) let x = quadBroadcast(mine_$h_$i[$u], $l); @end
        @each(_, A_ACROSS) let x = quadBroadcast(mine_$h_$u[$l], $i); @end
        @each(j, FOURS) c_$h_$i_$l_$j = fma(vec4f(x), y_$j, c_$h_$i_$l_$j); @end
      } @end @end @end
    } @end
  }
  // Out of their registers and through a loop: what stores them, written out for each, would be
  // more than an instruction cache holds.
  var sums: array<vec4f, 16 * SIXTEENS * FOURS>;
  @each(h, SIXTEENS) @each(i, 4) @each(l, 4) @each(j, FOURS) sums[(16 * $h + 4 * $i + $l) * FOURS + $j] = c_$h_$i_$l_$j; @end @end @end @end
  for (var r = 0u; r < 16 * SIXTEENS; r++) {
    for (var j = 0u; j < FOURS; j++) {
      store(row + r, 4 * (four + j * LANES) + vec4u(0, 1, 2, 3), sums[r * FOURS + j]);
    }
  }
}
