// How lanes share the rows of the attention kernels on a GPU: SLICES lanes hold one row, each every
// SLICES-th vector of it, so that the row fits in their registers. They add up their shares of a
// dot product. Each lane loads all positions; its neighbours in the slice load the vectors beside.
//
// Included as <lanes>. Constants: SLICES (4, since row_sum4 has a column for each lane), LANES.

/** The four positions from `first` on. */
fn load_positions(first: u32, lane: u32) -> vec4u {
  return vec4u(first) + vec4u(0, 1, 2, 3);
}

/** The vectors at the four positions that this lane loads, as columns. */
fn gather4(one: vec4f, two: vec4f, three: vec4f, four: vec4f) -> mat4x4f {
  return mat4x4f(one, two, three, four);
}

var<workgroup> shares: array<vec4f, 4 * LANES>; // (4, LANES): neighbours write side by side

/**
 * The sums of four vectors over a row's lanes. Each lane adds up one of them for the others, so all
 * lanes of the workgroup must call it.
 */
fn row_sum4(values: mat4x4f, lane: u32) -> mat4x4f {
  let column = lane % SLICES * LANES;
  let first = lane - lane % SLICES;
  workgroupBarrier(); // so that nobody overwrites a sum of the last call that is still to be read
  for (var n = 0u; n < 4; n++) { shares[n * LANES + lane] = values[n]; }
  workgroupBarrier(); // so that nobody adds up shares that are not written yet
  let at = column + first;
  shares[at] = shares[at] + shares[at + 1] + shares[at + 2] + shares[at + 3];
  workgroupBarrier(); // so that nobody reads a sum before its lane has made it
  return mat4x4f(
    shares[first],
    shares[LANES + first],
    shares[2 * LANES + first],
    shares[3 * LANES + first],
  );
}
