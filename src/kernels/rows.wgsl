// Sums and maxima over the LANES threads that share a row, in workgroups of 64. Put behind kernels
// that declare `alias row_value`, the f32 or vector of f32 that they reduce. Every thread of the
// workgroup calls them, and gets its row's result. Constants: LANES.

const ROWS = 64 / LANES; // of a workgroup
var<workgroup> partial: array<row_value, 64>;

fn row_max(value: row_value, slot: u32, lane: u32) -> row_value {
  if (LANES == 1u) { return value; }
  workgroupBarrier(); // the last reader of `partial` is done
  partial[slot] = value;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier(); // the partner has written
    if (lane < half) { partial[slot] = max(partial[slot], partial[slot + half]); }
  }
  workgroupBarrier();
  return partial[slot - lane];
}

fn row_sum(value: row_value, slot: u32, lane: u32) -> row_value {
  if (LANES == 1u) { return value; }
  workgroupBarrier(); // the last reader of `partial` is done
  partial[slot] = value;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier(); // the partner has written
    if (lane < half) { partial[slot] += partial[slot + half]; }
  }
  workgroupBarrier();
  return partial[slot - lane];
}
