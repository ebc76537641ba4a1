// Ranks each row's probabilities softmax(z / T): sorts them in descending order, and of equal ones
// the lower token first. A radix sort by LANES threads a row, of keys of 30 bits in six passes of
// five. Each thread counts and moves a run of the row that follows the runs of the threads before
// it, so equal keys keep their order and nothing depends on timing.
//
// A key is the bits of 1.0 minus those of the probability: bits of positive numbers have the order
// of the numbers. Each pass reads one half of `keys` and writes the other; the sixth leaves the
// result in the first. A token that `matched` pairs with another model's counts as 0.
// Constants: LANES (threads a row), IDS (0: the tokens are not asked for), MATCHED (0: none is).

#include "logits.wgsl"
#include "step.wgsl"
#include "probability_key.wgsl"

struct Params {
  rows: u32,
  V: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> logits: array<f32>; // (rows, V)
@group(0) @binding(3) var<storage, read_write> keys: array<u32>; // (2, rows, V)
#if IDS
@group(0) @binding(4) var<storage, read_write> ids: array<u32>; // (2, rows, V) their tokens
#endif
#if MATCHED
@group(0) @binding(5) var<storage, read> matched: array<u32>; // (V), UNMATCHED for the others
#endif

alias row_value = f32;

const DIGITS = 32u;
const PASSES = 6u;
var<workgroup> counts: array<u32, 64 * DIGITS>; // by digit, then thread
var<workgroup> totals: array<u32, 64>; // by digit, of a row that all threads share

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let row = min(local, params.rows - 1u);
  let V = params.V;
  let z0 = row * V;
  let half = params.rows * V;

  var largest = LOWEST;
  for (var v = lane; v < V; v += LANES) { largest = max(largest, logits[z0 + v]); }
  largest = row_max(largest, slot, lane);
  var sum = 0.0;
  for (var block = lane; block < V; block += BLOCK) {
    var block_sum = 0.0;
    for (var v = block; v < min(block + BLOCK, V); v += LANES) {
      block_sum += exp((logits[z0 + v] - largest) / step.temperature);
    }
    sum += block_sum;
  }
  let log_sum = log(row_sum(sum, slot, lane));
  // A thread of no row does what the last row's do, and writes nothing.
  let size = (V + LANES - 1u) / LANES;
  let start = min(lane * size, V);
  let end = select(start, min(start + size, V), valid);
  for (var v = start; v < end; v++) {
    var p = exp((logits[z0 + v] - largest) / step.temperature - log_sum);
#if MATCHED
    p = select(0.0, p, matched[v] == UNMATCHED);
#endif
    keys[z0 + v] = probability_key(p);
#if IDS
    ids[z0 + v] = v;
#endif
  }
  for (var pass_number = 0u; pass_number < PASSES; pass_number++) {
    let source = z0 + (pass_number % 2u) * half;
    let destination = z0 + ((pass_number + 1u) % 2u) * half;
    let shift = 5u * pass_number;
    for (var digit = 0u; digit < DIGITS; digit++) { counts[64u * digit + slot] = 0u; }
    for (var v = start; v < end; v++) {
      let digit = (keys[source + v] >> shift) % DIGITS;
      counts[64u * digit + slot]++;
    }
    // Counts become places: of the digits before, and of the same digit in the runs before.
    if (LANES == 1u) {
      var before = 0u;
      for (var digit = 0u; digit < DIGITS; digit++) {
        let count = counts[64u * digit + slot];
        counts[64u * digit + slot] = before;
        before += count;
      }
    } else {
      workgroupBarrier(); // all threads have counted
      if (slot < DIGITS) {
        var before = 0u;
        for (var other = 0u; other < 64u; other++) {
          let count = counts[64u * slot + other];
          counts[64u * slot + other] = before;
          before += count;
        }
        totals[slot] = before;
      }
      workgroupBarrier(); // all digits have their totals
      var before = 0u;
      for (var digit = 0u; digit < DIGITS; digit++) {
        counts[64u * digit + slot] += before;
        before += totals[digit];
      }
    }
    for (var v = start; v < end; v++) {
      let key = keys[source + v];
      let digit = (key >> shift) % DIGITS;
      let place = counts[64u * digit + slot];
      counts[64u * digit + slot] = place + 1u;
      keys[destination + place] = key;
#if IDS
      ids[destination + place] = ids[source + v];
#endif
    }
    if (LANES > 1u) {
      storageBarrier(); // the next pass reads what other threads have written
      workgroupBarrier(); // and writes totals that others are reading
    }
  }
}
