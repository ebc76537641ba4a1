// How the attention kernels use a GPU: the SLICES lanes that share a row have a part of its
// elements each, so that the row fits in their registers, and add up their parts of a scalar
// product. Each lane loads all positions, its neighbours the same ones. Put behind the kernels.
// Constants: SLICES (4, as whole() has a column for each), LANES.

/** The four positions from `first` on. */
fn positions(first: u32, lane: u32) -> vec4u {
  return vec4u(first) + vec4u(0, 1, 2, 3);
}

/** What was loaded, as columns. */
fn together(one: vec4f, two: vec4f, three: vec4f, four: vec4f) -> mat4x4f {
  return mat4x4f(one, two, three, four);
}

var<workgroup> parts: array<vec4f, 4 * LANES>; // (4, LANES): neighbours write side by side

/**
 * The sums over a row's lanes: each adds up one column for all of them. Every lane of the workgroup
 * calls it.
 */
fn whole(sums: mat4x4f, lane: u32) -> mat4x4f {
  let column = lane % SLICES * LANES;
  let first = lane - lane % SLICES;
  workgroupBarrier(); // the last reader of `parts` is done
  for (var n = 0u; n < 4; n++) { parts[n * LANES + lane] = sums[n]; }
  workgroupBarrier(); // the row's lanes have written
  let at = column + first;
  parts[at] = parts[at] + parts[at + 1] + parts[at + 2] + parts[at + 3];
  workgroupBarrier(); // the row's columns are summed
  return mat4x4f(parts[first], parts[LANES + first], parts[2 * LANES + first], parts[3 * LANES + first]);
}
