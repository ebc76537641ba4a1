// What the variants of the matrix product share: their bindings, and how a sum is stored.
//
//   c = ([scale ·] sum [+ bias] [+ addend] [+ c]) [· gelu'(gelu_input)]
//   gelu_output = gelu(c)
//
// Aliases: a_type, b_type, c_type, scalar (of bias, addend and gelu_input).
// Constants, 0 or 1: SCALE, BIAS, ADDEND, ACCUMULATE (adds what c holds), GELU_BACKWARD, GELU,
// VEC4_LOADS (N is a multiple of 4, so four neighbouring columns are inside c or past its edge
// together).

#include "gelu.wgsl"

struct Params {
  M: u32, N: u32, K: u32,
  a_offset: u32, a_row: u32, a_col: u32,
  b_offset: u32, b_row: u32, b_col: u32,
  c_offset: u32, c_row: u32, c_col: u32,
  #if SCALE
  scale: f32,
  #endif
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<a_type>; // (M, K) through strides
@group(0) @binding(2) var<storage, read> b: array<b_type>; // (K, N) through strides
@group(0) @binding(3) var<storage, read_write> c: array<c_type>; // (M, N) through strides
#if BIAS
@group(0) @binding(4) var<storage, read> bias: array<scalar>; // (N)
#endif
#if ADDEND
@group(0) @binding(5) var<storage, read> addend: array<scalar>; // (M, N) contiguous
#endif
#if GELU_BACKWARD
@group(0) @binding(6) var<storage, read> gelu_input: array<scalar>; // (M, N) contiguous
#endif
#if GELU
@group(0) @binding(7) var<storage, read_write> gelu_output: array<c_type>; // (M, N) contiguous
#endif

// Stores four columns of a row. Columns past the edge are not stored. `#if` rather than `if`: a
// software adapter goes through both branches of an `if`.
fn store(row: u32, columns: vec4u, sums: vec4f) {
  let inside = (columns < vec4u(params.N)) & vec4<bool>(row < params.M);
  let m = min(row, params.M - 1);
  let n = min(columns, vec4u(params.N - 1));
  let at = params.c_offset + m * params.c_row + n * params.c_col;
  let dense = m * params.N + n;
  var value = sums;
  #if SCALE
  value *= params.scale;
  #endif
  #if BIAS
  value += vec4f(f32(bias[n.x]), f32(bias[n.y]), f32(bias[n.z]), f32(bias[n.w]));
  #endif
  #if ADDEND
  value += vec4f(
    f32(addend[dense.x]), f32(addend[dense.y]), f32(addend[dense.z]), f32(addend[dense.w])
  );
  #endif
  #if ACCUMULATE
  value += vec4f(f32(c[at.x]), f32(c[at.y]), f32(c[at.z]), f32(c[at.w]));
  #endif
  #if GELU_BACKWARD
  value *= gelu_derivative(vec4f(
    f32(gelu_input[dense.x]), f32(gelu_input[dense.y]),
    f32(gelu_input[dense.z]), f32(gelu_input[dense.w])
  ));
  #endif
  let stored = vec4<c_type>(value);
  #if VEC4_LOADS
  if (inside.x) {
    #for f < 4
    c[at[$f]] = stored[$f];
    #endfor
  }
  #else
    #for f < 4
  if (inside[$f]) { c[at[$f]] = stored[$f]; }
    #endfor
  #endif
  #if GELU
  let activated = vec4<c_type>(gelu(vec4f(stored)));
    #for f < 4
  if (inside[$f]) { gelu_output[dense[$f]] = activated[$f]; }
    #endfor
  #endif
}
