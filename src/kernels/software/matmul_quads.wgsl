// For software adapters alone: the matrix product of matmul.wgsl where a subgroup is a quad of four
// lanes. There a load costs as much as a dozen products, a load of four neighbours little more, and
// handing a value to the quad almost nothing. A thread makes 16 · ROW_BLOCKS rows × COLUMN_VEC4S
// vectors of four columns, four k at a time.
//
// a and b must be laid out so that vec4s can be loaded: see memoryOrder in matmul_variants.ts.
// Constants: LANES, ROW_BLOCKS, COLUMN_VEC4S; A_ALONG_K, B_ALONG_K (1 where an operand's vec4s lie
// along k, 0 where they lie across it).

#include "matmul_store.wgsl"

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
  let part = part_of(group, 16 * ROW_BLOCKS);
  #if BY_EXPERT
  if (part.row >= part.M || part.K == 0u) { return; }
  #endif
  let row = part.row;
  let vec4_col = group.x * (COLUMN_VEC4S * LANES) + local.x;
  let lane = subgroup_lane % 4;
  // Rows and columns past the edge read the last ones instead, and are not stored.
  #if A_ALONG_K
    #for h < ROW_BLOCKS, i < 4
  let a_row_$h_$i = min(row + 16 * $h + 4 * $i + lane, part.M - 1);
  let a_$h_$i = (part.a_offset + a_row_$h_$i * params.a_row) / 4;
    #endfor
  #else
    #for h < ROW_BLOCKS
  let a_$h = part.a_offset / 4 + min(row / 4 + 4 * $h + lane, part.M / 4 - 1);
    #endfor
  #endif
  #if B_ALONG_K
    #for j < COLUMN_VEC4S, f < 4
  let b_col_$j_$f = min(4 * (vec4_col + $j * LANES) + $f, params.N - 1);
  let b_$j_$f = (part.b_offset + b_col_$j_$f * params.b_col) / 4;
    #endfor
  #else
    #for j < COLUMN_VEC4S
  let b_$j = part.b_offset / 4 + min(vec4_col + $j * LANES, params.N / 4 - 1);
    #endfor
  #endif
  #for h < ROW_BLOCKS, i < 4, l < 4, j < COLUMN_VEC4S
  var c_$h_$i_$l_$j = vec4f();
  #endfor
  // Read before the loop, since some compilers would read them again at each k.
  let K = part.K;
  let a_step = params.a_col / 4;
  let b_step = params.b_row / 4;
  for (var k = 0u; k < K; k += 4) {
    // What this lane loads of a, for its quad.
    #for h < ROW_BLOCKS, i < 4
      #if A_ALONG_K
    let a4_$h_$i = vec4f(a[a_$h_$i + k / 4]);
      #else
    var a4_$h_$i = vec4f(a[a_$h + (k + $i) * a_step]);
        #if EXPERT_SUMS
    // K need not be a multiple of 4 here; what follows is the next expert's.
    a4_$h_$i = select(vec4f(), a4_$h_$i, k + $i < K);
        #endif
      #endif
    #endfor
    #if B_ALONG_K
      #for j < COLUMN_VEC4S, f < 4
    let b4_$j_$f = vec4f(b[b_$j_$f + k / 4]);
      #endfor
    #endif
    #for u < 4
    {
      #for j < COLUMN_VEC4S
        #if B_ALONG_K
      let y_$j = vec4f(b4_$j_0[$u], b4_$j_1[$u], b4_$j_2[$u], b4_$j_3[$u]);
        #else
      let y_$j = vec4f(b[b_$j + (k + $u) * b_step]);
        #endif
      #endfor
      #for h < ROW_BLOCKS, i < 4, l < 4
      {
        #if A_ALONG_K
        let x = quadBroadcast(a4_$h_$i[$u], $l);
        #else
        let x = quadBroadcast(a4_$h_$u[$l], $i);
        #endif
        #for j < COLUMN_VEC4S
        c_$h_$i_$l_$j = fma(vec4f(x), y_$j, c_$h_$i_$l_$j);
        #endfor
      }
      #endfor
    }
    #endfor
  }
  // The sums leave their registers and are stored in a loop: store() written out for each of them
  // would be more than an instruction cache holds.
  var sums: array<vec4f, 16 * ROW_BLOCKS * COLUMN_VEC4S>;
  #for h < ROW_BLOCKS, i < 4, l < 4, j < COLUMN_VEC4S
  sums[(16 * $h + 4 * $i + $l) * COLUMN_VEC4S + $j] = c_$h_$i_$l_$j;
  #endfor
  for (var r = 0u; r < 16 * ROW_BLOCKS; r++) {
    for (var j = 0u; j < COLUMN_VEC4S; j++) {
      let columns = 4 * (vec4_col + j * LANES) + vec4u(0, 1, 2, 3);
      store(part, row + r, columns, sums[r * COLUMN_VEC4S + j]);
    }
  }
}
