// What the matrix products have in common: their bindings, and what happens to a sum before it is stored. Put behind matmul*.wgsl.
// Aliases: a_type, b_type, c_type, scalar (bias, addend).

struct Params {
  M: u32, N: u32, K: u32,
  a_offset: u32, a_row: u32, a_col: u32,
  b_offset: u32, b_row: u32, b_col: u32,
  c_offset: u32, c_row: u32, c_col: u32,
  adds: u32, // 1: bias, 2: addend, 4: what c holds
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
  if ((params.adds & 1u) != 0u) { value += f32(bias[col]); }
  if ((params.adds & 2u) != 0u) { value += f32(addend[row * params.N + col]); }
  let at = params.c_offset + row * params.c_row + col * params.c_col;
  if ((params.adds & 4u) != 0u) { value += f32(c[at]); }
  c[at] = c_type(value);
}
