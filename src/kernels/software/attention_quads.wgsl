// For software adapters alone: how lanes share the loads of the attention kernels where a load
// costs more than the arithmetic on it. Each of the four lanes of a quad loads one position and
// gives it to the others. A lane holds whole rows.
//
// Included as <lanes>. Needs the subgroups feature, and a workgroup that is one subgroup or less
// with its lanes in order.

/** The one of the four positions from `first` on that this lane loads, four times. */
fn load_positions(first: u32, lane: u32) -> vec4u {
  return vec4u(first + lane % 4);
}

/** The vectors that the quad's lanes loaded, as columns. All arguments are this lane's vector. */
fn gather4(loaded: vec4f, _again: vec4f, _and_again: vec4f, _once_more: vec4f) -> mat4x4f {
  return mat4x4f(
    quadBroadcast(loaded, 0),
    quadBroadcast(loaded, 1),
    quadBroadcast(loaded, 2),
    quadBroadcast(loaded, 3),
  );
}

/** The sums over a row's lanes: the lane has the whole row, so they are the values. */
fn row_sum4(values: mat4x4f, lane: u32) -> mat4x4f {
  return values;
}
