// Sums and maxima over the LANES threads that share a row, in workgroups of 64 threads that take
// ROWS rows. The kernel declares `alias row_value`, the number or vector that it reduces. Every
// thread of the workgroup must make the call, and gets its row's result. Constants: LANES.

const ROWS = 64 / LANES; // of a workgroup
var<workgroup> partial: array<row_value, 64>;

fn row_max(value: row_value, slot: u32, lane: u32) -> row_value {
  if (LANES == 1u) { return value; }
  workgroupBarrier(); // an earlier call may still be reading `partial`
  partial[slot] = value;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier(); // the other half has written what is read here
    if (lane < half) { partial[slot] = max(partial[slot], partial[slot + half]); }
  }
  workgroupBarrier(); // the first thread of the row has written the result
  return partial[slot - lane];
}

fn row_sum(value: row_value, slot: u32, lane: u32) -> row_value {
  if (LANES == 1u) { return value; }
  workgroupBarrier(); // an earlier call may still be reading `partial`
  partial[slot] = value;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier(); // the other half has written what is read here
    if (lane < half) { partial[slot] += partial[slot + half]; }
  }
  workgroupBarrier(); // the first thread of the row has written the result
  return partial[slot - lane];
}

// The sum over the lanes before this one.
fn sum_before(value: row_value, slot: u32, lane: u32) -> row_value {
  if (LANES == 1u) { return row_value(); }
  workgroupBarrier(); // an earlier call may still be reading `partial`
  partial[slot] = value;
  workgroupBarrier(); // all lanes have written
  var sum = row_value();
  for (var other = slot - lane; other < slot; other++) { sum += partial[other]; }
  return sum;
}
