// Sums over the LANES threads that share a column, in workgroups of 16 columns × LANES threads. The
// kernel declares `alias column_value`, the f32 or vector of f32 that it sums. Every thread of the
// workgroup must make the call, and the first thread of each column gets its total.
// Constants: LANES.

var<workgroup> column_parts: array<column_value, 16 * LANES>;

fn column_total(value: column_value, local: vec3u) -> column_value {
  if (LANES == 1u) { return value; }
  let slot = local.y * 16 + local.x;
  column_parts[slot] = value;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier(); // the other half has written what is read here
    if (local.y < half) { column_parts[slot] += column_parts[slot + half * 16]; }
  }
  return column_parts[local.x];
}
