// matmul.wgsl for GPUs: 16 × 16 threads make a square of 64 · QUADS rows and columns from strips of
// a and b that they keep in workgroup memory. A thread makes QUADS × QUADS blocks of 4 × 4, 64 rows
// or columns apart. While a strip is in use, the next one is on its way; the first is in use from
// the second turn on. Constants: QUADS; A_DEEP, B_DEEP: 1 where an operand's neighbours in memory
// lie along k, 0 where they lie across it. Goes before matmul_store.wgsl.

#include "matmul_store.wgsl"

const DEPTH = 16 / QUADS; // of a strip, so that each thread brings one vector of four
const WIDTH = 16 * QUADS; // of a strip, in fours
const STRIDE = WIDTH + 1; // keeps a column of threads off one bank
var<workgroup> a_strip: array<vec4f, DEPTH * STRIDE>; // (DEPTH, WIDTH)
var<workgroup> b_strip: array<vec4f, DEPTH * STRIDE>;

// (k, four) of the vector that a thread brings to a strip. Neighbouring threads read neighbours in
// memory.
fn brought(thread: u32, deep: u32) -> vec2u {
  if (deep == 1u) { return vec2u(thread % DEPTH, thread / DEPTH); }
  return vec2u(thread / WIDTH, thread % WIDTH);
}

// Past the edges of c the last row or column is read again, and not stored. Past the end of k there
// are zeros.
fn four_of_a(k: u32, row: u32) -> vec4f {
  let at = params.a_offset + min(k, params.K - 1) * params.a_col;
  let m = min(vec4u(row) + vec4u(0, 1, 2, 3), vec4u(params.M - 1)) * params.a_row;
  let four = vec4f(f32(a[at + m.x]), f32(a[at + m.y]), f32(a[at + m.z]), f32(a[at + m.w]));
  return select(vec4f(), four, k < params.K);
}
fn four_of_b(k: u32, col: u32) -> vec4f {
  let at = params.b_offset + min(k, params.K - 1) * params.b_row;
  let n = min(vec4u(col) + vec4u(0, 1, 2, 3), vec4u(params.N - 1)) * params.b_col;
  let four = vec4f(f32(b[at + n.x]), f32(b[at + n.y]), f32(b[at + n.z]), f32(b[at + n.w]));
  return select(vec4f(), four, k < params.K);
}

@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = group.y * (4 * WIDTH);
  let col = group.x * (4 * WIDTH);
  let from_a = brought(thread, A_DEEP);
  let from_b = brought(thread, B_DEEP);
  @each(i, QUADS) @each(e, 4) @each(j, QUADS) var c_$i_$e_$j = vec4f(); @end @end @end
  for (var strip = 0u; strip < params.K + DEPTH; strip += DEPTH) {
    let next_a = four_of_a(strip + from_a.x, row + 4 * from_a.y);
    let next_b = four_of_b(strip + from_b.x, col + 4 * from_b.y);
    for (var k = select(0u, DEPTH, strip == 0u); k < DEPTH; k++) {
      @each(j, QUADS) let y_$j = b_strip[k * STRIDE + local.x + 16 * $j]; @end
      @each(i, QUADS) { let x = a_strip[k * STRIDE + local.y + 16 * $i]; @each(e, 4) @each(j, QUADS) c_$i_$e_$j = fma(vec4f(x[$e]), y_$j, c_$i_$e_$j); @end @end } @end
    }
    workgroupBarrier(); // the strip's readers are done
    a_strip[from_a.x * STRIDE + from_a.y] = next_a;
    b_strip[from_b.x * STRIDE + from_b.y] = next_b;
    workgroupBarrier(); // the next one is whole
  }
  // Through a loop, so that what stores an element is compiled once.
  var sums: array<vec4f, 4 * QUADS * QUADS>;
  @each(i, QUADS) @each(e, 4) @each(j, QUADS) sums[($i * 4 + $e) * QUADS + $j] = c_$i_$e_$j; @end @end @end
  for (var r = 0u; r < 4 * QUADS; r++) {
    for (var j = 0u; j < QUADS; j++) {
      let m = row + (local.y + 16 * (r / 4)) * 4 + r % 4;
      store(m, col + (local.x + 16 * j) * 4 + vec4u(0, 1, 2, 3), sums[r * QUADS + j]);
    }
  }
}
