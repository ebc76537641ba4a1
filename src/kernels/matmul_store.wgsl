// What the variants of the matrix product share: their bindings, the part of the product that a
// workgroup makes, and how a sum is stored.
//
//   c = ([scale ·] sum [+ bias] [+ addend] [+ c]) [· gelu'(gelu_input)]
//   gelu_output = gelu(c)
//
// Products by expert: rows are sorted by expert, and starts says where those of each begin. Either
// the rows of a and c are, and each is multiplied by its expert's b; or the rows that are summed
// over, k, are, and each expert has a c of its own.
//
// Aliases: a_type, b_type, c_type, scalar (of bias, addend and gelu_input).
// Constants, 0 or 1: BY_EXPERT, EXPERT_SUMS (of the two, the second), SCALE, BIAS, ADDEND,
// ACCUMULATE (adds what c holds), GELU_BACKWARD, GELU, VEC4_LOADS (N is a multiple of 4, so four
// neighbouring columns are inside c or past its edge together).

#include "gelu.wgsl"

struct Params {
  M: u32, N: u32, K: u32,
  a_offset: u32, a_row: u32, a_col: u32,
  b_offset: u32, b_row: u32, b_col: u32,
  c_offset: u32, c_row: u32, c_col: u32,
  #if SCALE
  scale: f32,
  #endif
  #if BY_EXPERT
  experts: u32,
  expert_stride: u32, // from an expert's b, or c, to the next
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
#if BY_EXPERT
@group(0) @binding(8) var<storage, read> starts: array<u32>; // (experts + 1)
#endif

// What a workgroup makes: the rows of c from `row` on, of which those from M on are not stored.
struct Part { row: u32, M: u32, K: u32, a_offset: u32, b_offset: u32, c_offset: u32 }

// `height`: the rows that a workgroup makes. A part with no row or no k is nobody's work.
fn part_of(group: vec3u, height: u32) -> Part {
  var part = Part(
    group.y * height, params.M, params.K, params.a_offset, params.b_offset, params.c_offset
  );
  #if EXPERT_SUMS
  let first = starts[group.z];
  part.K = starts[group.z + 1] - first;
  part.a_offset += first * params.a_col;
  part.b_offset += first * params.b_row;
  part.c_offset += group.z * params.expert_stride;
  #else
    #if BY_EXPERT
  // A workgroup's rows belong to one expert.
  part.row = params.M;
  var turn = group.y;
  for (var expert = 0u; expert < params.experts; expert++) {
    let first = starts[expert];
    let end = starts[expert + 1];
    let turns = (end - first + height - 1) / height;
    if (turn < turns) {
      part.row = first + turn * height;
      part.M = end;
      part.b_offset += expert * params.expert_stride;
      break;
    }
    turn -= turns;
  }
    #endif
  #endif
  return part;
}

// Stores four columns of a row. Columns past the edge are not stored. `#if` rather than `if`: a
// software adapter goes through both branches of an `if`.
fn store(part: Part, row: u32, columns: vec4u, sums: vec4f) {
  let inside = (columns < vec4u(params.N)) & vec4<bool>(row < part.M);
  let m = min(row, part.M - 1);
  let n = min(columns, vec4u(params.N - 1));
  let at = part.c_offset + m * params.c_row + n * params.c_col;
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
