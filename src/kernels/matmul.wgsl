// c (M, N) = a (M, K) · b (K, N) [+ bias (N)] [+ addend (M, N)] [+ c]
//
// a, b and c are read and written through strides, so a transpose is a layout and never a copy. Sums are f32.
// A thread makes 8 rows × 4 columns. Its columns lie one workgroup's width apart: neighbouring threads read neighbouring
// elements of b, and all of them the same element of a.
// Aliases: a_type, b_type, c_type, scalar (bias, addend). Constants: LANES, BIAS, ADDEND, ACCUMULATE (0 or 1).

struct Params {
  M: u32, N: u32, K: u32,
  a_offset: u32, a_row: u32, a_col: u32,
  b_offset: u32, b_row: u32, b_col: u32,
  c_offset: u32, c_row: u32, c_col: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<a_type>;
@group(0) @binding(2) var<storage, read> b: array<b_type>;
@group(0) @binding(3) var<storage, read> bias: array<scalar>;
@group(0) @binding(4) var<storage, read> addend: array<scalar>; // contiguous
@group(0) @binding(5) var<storage, read_write> c: array<c_type>;

fn store(row: u32, col: u32, sum: f32) {
  if (row >= params.M || col >= params.N) { return; }
  var value = sum;
  if (BIAS == 1u) { value += f32(bias[col]); }
  if (ADDEND == 1u) { value += f32(addend[row * params.N + col]); }
  let at = params.c_offset + row * params.c_row + col * params.c_col;
  if (ACCUMULATE == 1u) { value += f32(c[at]); }
  c[at] = c_type(value);
}

fn store4(row: u32, col: u32, sum: vec4f) {
  store(row, col, sum.x);
  store(row, col + LANES, sum.y);
  store(row, col + 2 * LANES, sum.z);
  store(row, col + 3 * LANES, sum.w);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let row = group.y * 8;
  let col = group.x * (4 * LANES) + local.x;
  // Rows and columns past the edge read the last one instead, and are not stored.
  let m = params.M - 1;
  let n = params.N - 1;
  let a0 = params.a_offset + min(row, m) * params.a_row;
  let a1 = params.a_offset + min(row + 1, m) * params.a_row;
  let a2 = params.a_offset + min(row + 2, m) * params.a_row;
  let a3 = params.a_offset + min(row + 3, m) * params.a_row;
  let a4 = params.a_offset + min(row + 4, m) * params.a_row;
  let a5 = params.a_offset + min(row + 5, m) * params.a_row;
  let a6 = params.a_offset + min(row + 6, m) * params.a_row;
  let a7 = params.a_offset + min(row + 7, m) * params.a_row;
  let b0 = params.b_offset + min(col, n) * params.b_col;
  let b1 = params.b_offset + min(col + LANES, n) * params.b_col;
  let b2 = params.b_offset + min(col + 2 * LANES, n) * params.b_col;
  let b3 = params.b_offset + min(col + 3 * LANES, n) * params.b_col;
  var c0 = vec4f();
  var c1 = vec4f();
  var c2 = vec4f();
  var c3 = vec4f();
  var c4 = vec4f();
  var c5 = vec4f();
  var c6 = vec4f();
  var c7 = vec4f();
  for (var k = 0u; k < params.K; k++) {
    let i = k * params.a_col;
    let j = k * params.b_row;
    let y = vec4f(f32(b[b0 + j]), f32(b[b1 + j]), f32(b[b2 + j]), f32(b[b3 + j]));
    c0 = fma(vec4f(f32(a[a0 + i])), y, c0);
    c1 = fma(vec4f(f32(a[a1 + i])), y, c1);
    c2 = fma(vec4f(f32(a[a2 + i])), y, c2);
    c3 = fma(vec4f(f32(a[a3 + i])), y, c3);
    c4 = fma(vec4f(f32(a[a4 + i])), y, c4);
    c5 = fma(vec4f(f32(a[a5 + i])), y, c5);
    c6 = fma(vec4f(f32(a[a6 + i])), y, c6);
    c7 = fma(vec4f(f32(a[a7 + i])), y, c7);
  }
  store4(row, col, c0);
  store4(row + 1, col, c1);
  store4(row + 2, col, c2);
  store4(row + 3, col, c3);
  store4(row + 4, col, c4);
  store4(row + 5, col, c5);
  store4(row + 6, col, c6);
  store4(row + 7, col, c7);
}
