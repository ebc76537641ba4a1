// The k most likely tokens of each row of teacher logits, packed into a cache entry of u32 (the
// format is in topk.ts): the tail, ln Σ exp((y − largest) / temperature) over all other tokens, as
// f32; the k values y − largest as f16, two to a u32; and their ids in ascending order, as u16 two
// to a u32 or as u32. Of equal logits the lower ids are taken. With k = V an entry has neither tail
// nor ids, only the values in the vocabulary's order.
//
// The k-th largest logit is found from the top two bits at a time: the number of logits that are
// not below a candidate decides its bits. That reads the row 16 times, whatever k is.
// Aliases: teacher_type. Constants: LANES (threads a row).

#include "logits.wgsl"

struct Params {
  rows: u32,
  V: u32,
  k: u32,
  entry_size: u32, // in u32
  u16_ids: u32, // 1 if ids are u16
  temperature: f32,
  teacher_offset: u32,
  teacher_row: u32,
  teacher_v: u32,
  entry_offset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> teacher: array<teacher_type>; // (rows, V) through strides
// (rows, k): the ids before they are packed; not used if k = V
@group(0) @binding(2) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(3) var<storage, read_write> entries: array<u32>; // (rows, entry_size)

// f16's lowest number. It stands for the −∞ of a token that the teacher rules out: exp of it is 0
// at any temperature.
const LOWEST_F16 = -65504.0;
alias row_value = vec4f;
var<private> y0: u32; // where the row begins

fn logit(v: u32) -> f32 {
  return f32(teacher[y0 + v * params.teacher_v]);
}

// An integer with the same order as the logits. Both zeros have one.
fn key(y: f32) -> u32 {
  let bits = bitcast<u32>(y);
  if (y == 0.0) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// The i-th value of the row's entry; 0 past the end.
fn value_of(row: u32, i: u32, largest: f32) -> f32 {
  if (i >= params.k) { return 0.0; }
  var v = i;
  if (params.k < params.V) { v = chosen[row * params.k + i]; }
  return at_least(logit(v) - largest, LOWEST_F16);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let row = min(local, params.rows - 1);
  let k = params.k;
  y0 = params.teacher_offset + row * params.teacher_row;

  var largest = LOWEST;
  for (var v = lane; v < params.V; v += LANES) { largest = max(largest, logit(v)); }
  largest = row_max(vec4f(largest), slot, lane).x;

  var tail = LOG_ZERO;
  if (k < params.V) {
    // Counts are sums of f32, which are exact up to 2^24 tokens.
    var threshold = 0u; // ends as the k-th largest key: the largest that k keys are not below
    for (var digit = 0u; digit < 16u; digit++) {
      let bit = 1u << (30u - 2u * digit);
      let candidates = threshold + vec3u(bit, 2u * bit, 3u * bit);
      var counts = vec3f();
      for (var v = lane; v < params.V; v += LANES) {
        counts += select(vec3f(), vec3f(1.0), vec3u(key(logit(v))) >= candidates);
      }
      counts = row_sum(vec4f(counts, 0.0), slot, lane).xyz;
      let reached = select(vec3f(), vec3f(1.0), counts >= vec3f(f32(k)));
      threshold += bit * u32(dot(reached, vec3f(1.0)));
    }
    // Each lane takes a run of the vocabulary, so that the lanes' ids come in ascending order.
    let size = (params.V + LANES - 1u) / LANES;
    let start = lane * size;
    let end = min(start + size, params.V);
    var lane_counts = vec4f(); // keys above the threshold, keys at it
    for (var v = start; v < end; v++) {
      let y_key = key(logit(v));
      let above = select(0.0, 1.0, y_key > threshold);
      lane_counts += vec4f(above, select(0.0, 1.0, y_key == threshold), 0.0, 0.0);
    }
    // Of those at the threshold, so many are taken.
    var places = k - u32(row_sum(lane_counts, slot, lane).x);
    let earlier = sum_before(lane_counts, slot, lane);
    let taken = min(u32(earlier.y), places);
    var at = row * k + u32(earlier.x) + taken;
    places -= taken;
    var sum = 0.0;
    var block_sum = 0.0; // of 32 tokens, for the reason given at BLOCK in logits.wgsl
    for (var v = start; v < end; v++) {
      let y = logit(v);
      let y_key = key(y);
      if (y_key > threshold || (y_key == threshold && places > 0u)) {
        if (y_key == threshold) { places--; }
        if (valid) { chosen[at] = v; }
        at++;
      } else {
        block_sum += exp((y - largest) / params.temperature);
      }
      if (v % 32u == 31u) {
        sum += block_sum;
        block_sum = 0.0;
      }
    }
    let total = row_sum(vec4f(sum + block_sum), slot, lane).x;
    if (total != 0.0) { tail = log(total); }
    if (LANES > 1u) { storageBarrier(); } // all lanes have written the row's ids, read below
  }
  if (!valid) { return; }
  let entry = params.entry_offset + row * params.entry_size;
  let values = entry + select(0u, 1u, k < params.V);
  let pairs = (k + 1u) / 2u;
  for (var i = lane; i < pairs; i += LANES) {
    let pair = vec2f(value_of(row, 2u * i, largest), value_of(row, 2u * i + 1u, largest));
    entries[values + i] = pack2x16float(pair);
  }
  if (k == params.V) { return; }
  if (lane == 0u) { entries[entry] = bitcast<u32>(tail); }
  let ids = values + pairs;
  let first = row * k;
  if (params.u16_ids == 0u) {
    for (var i = lane; i < k; i += LANES) { entries[ids + i] = chosen[first + i]; }
  } else {
    for (var i = lane; i < pairs; i += LANES) {
      var pair = chosen[first + 2u * i];
      if (2u * i + 1u < k) { pair |= chosen[first + 2u * i + 1u] << 16u; }
      entries[ids + i] = pair;
    }
  }
}
