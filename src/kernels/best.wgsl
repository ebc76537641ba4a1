// The likeliest tokens of two rows of logits at once, student's (z) and teacher's (y), over the
// LANES threads that share the rows. See rows.wgsl. Constants: LANES.

struct Best {
  z: f32,
  y: f32,
  z_token: u32,
  y_token: u32,
}
var<workgroup> best_of: array<Best, 64>;

// The larger logit of each model; of equal ones, that of the lower id.
fn better(one: Best, other: Best) -> Best {
  var best = one;
  if (other.z > best.z || (other.z == best.z && other.z_token < best.z_token)) {
    best.z = other.z;
    best.z_token = other.z_token;
  }
  if (other.y > best.y || (other.y == best.y && other.y_token < best.y_token)) {
    best.y = other.y;
    best.y_token = other.y_token;
  }
  return best;
}

fn row_best(value: Best, slot: u32, lane: u32) -> Best {
  if (LANES == 1u) { return value; }
  workgroupBarrier(); // an earlier call may still be reading `best_of`
  best_of[slot] = value;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier(); // the other half has written what is read here
    if (lane < half) { best_of[slot] = better(best_of[slot], best_of[slot + half]); }
  }
  workgroupBarrier(); // the first thread of the row has written the result
  return best_of[slot - lane];
}
