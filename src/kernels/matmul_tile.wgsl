// The matrix product of matmul.wgsl for GPUs. 16 × 16 threads make a square of 64 · BLOCKS rows and
// columns of c from strips of a and b in workgroup memory. A thread makes BLOCKS × BLOCKS blocks of
// 4 × 4 elements, 64 rows or columns apart. While the threads multiply one strip, the loads of the
// next are under way; the first turn only loads.
//
// Constants: BLOCKS; A_ALONG_K, B_ALONG_K (1 where an operand's neighbours in memory lie along k, 0
// where they lie across it).

#include "matmul_store.wgsl"

const DEPTH = 16 / BLOCKS; // of a strip along k, so that each thread loads one vector of it
const WIDTH = 16 * BLOCKS; // of a strip across k, in vec4s
const STRIDE = WIDTH + 1; // one more, so that a column of threads does not meet in one memory bank
var<workgroup> a_strip: array<vec4f, DEPTH * STRIDE>; // (DEPTH, WIDTH)
var<workgroup> b_strip: array<vec4f, DEPTH * STRIDE>; // (DEPTH, WIDTH)

// (k, vec4) of the vector of a strip that a thread loads. Neighbouring threads load neighbours in
// memory.
fn load_position(thread: u32, along_k: u32) -> vec2u {
  if (along_k == 1u) { return vec2u(thread % DEPTH, thread / DEPTH); }
  return vec2u(thread / WIDTH, thread % WIDTH);
}

// Past the edges of c the last row or column is read again, and not stored. Past the end of k there
// are zeros.
fn load4_a(part: Part, k: u32, row: u32) -> vec4f {
  let at = part.a_offset + min(k, part.K - 1) * params.a_col;
  let m = min(vec4u(row) + vec4u(0, 1, 2, 3), vec4u(part.M - 1)) * params.a_row;
  let loaded = vec4f(f32(a[at + m.x]), f32(a[at + m.y]), f32(a[at + m.z]), f32(a[at + m.w]));
  return select(vec4f(), loaded, k < part.K);
}

fn load4_b(part: Part, k: u32, col: u32) -> vec4f {
  let at = part.b_offset + min(k, part.K - 1) * params.b_row;
  let n = min(vec4u(col) + vec4u(0, 1, 2, 3), vec4u(params.N - 1)) * params.b_col;
  let loaded = vec4f(f32(b[at + n.x]), f32(b[at + n.y]), f32(b[at + n.z]), f32(b[at + n.w]));
  return select(vec4f(), loaded, k < part.K);
}

@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let part = part_of(group, 4 * WIDTH);
  #if BY_EXPERT
  if (part.row >= part.M || part.K == 0u) { return; }
  #endif
  let row = part.row;
  let col = group.x * (4 * WIDTH);
  let a_position = load_position(thread, A_ALONG_K);
  let b_position = load_position(thread, B_ALONG_K);
  #for i < BLOCKS, e < 4, j < BLOCKS
  var c_$i_$e_$j = vec4f();
  #endfor
  for (var strip = 0u; strip < part.K + DEPTH; strip += DEPTH) {
    let next_a = load4_a(part, strip + a_position.x, row + 4 * a_position.y);
    let next_b = load4_b(part, strip + b_position.x, col + 4 * b_position.y);
    for (var k = select(0u, DEPTH, strip == 0u); k < DEPTH; k++) {
      #for j < BLOCKS
      let y_$j = b_strip[k * STRIDE + local.x + 16 * $j];
      #endfor
      #for i < BLOCKS
      {
        let x = a_strip[k * STRIDE + local.y + 16 * $i];
        #for e < 4, j < BLOCKS
        c_$i_$e_$j = fma(vec4f(x[$e]), y_$j, c_$i_$e_$j);
        #endfor
      }
      #endfor
    }
    workgroupBarrier(); // so that nobody overwrites a strip that another thread still reads
    a_strip[a_position.x * STRIDE + a_position.y] = next_a;
    b_strip[b_position.x * STRIDE + b_position.y] = next_b;
    workgroupBarrier(); // so that nobody reads a vector before its thread has written it
  }
  // The sums leave their registers and are stored in a loop, so that store() is compiled once.
  var sums: array<vec4f, 4 * BLOCKS * BLOCKS>;
  #for i < BLOCKS, e < 4, j < BLOCKS
  sums[($i * 4 + $e) * BLOCKS + $j] = c_$i_$e_$j;
  #endfor
  for (var r = 0u; r < 4 * BLOCKS; r++) {
    for (var j = 0u; j < BLOCKS; j++) {
      let m = row + (local.y + 16 * (r / 4)) * 4 + r % 4;
      store(part, m, col + (local.x + 16 * j) * 4 + vec4u(0, 1, 2, 3), sums[r * BLOCKS + j]);
    }
  }
}
