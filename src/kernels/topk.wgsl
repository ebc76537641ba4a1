// The k likeliest words of each row of teacher logits, packed into an entry of u32 words as the
// cache keeps it (see topk.ts). Two to a word: values, the logits less the row's largest, as f16;
// ids in ascending order, as u16 where `narrow`, else one to a word. Before them the rest as one
// outcome: ln Σ exp((y − largest) / temperature) over the words left out, f32. Of equal logits the
// lower ids are taken. With k = V there is no rest to write, and no id: values alone, in the
// vocabulary's order. The k-th largest is found two bits at a time from the top: how many logits
// are not below a candidate says which bits it has. That reads the row 16 times, whatever k is.
// Aliases: teacher_type. Constants: LANES (threads a row).

#include "rows.wgsl"

struct Params {
  rows: u32, V: u32, k: u32, words: u32, narrow: u32, temperature: f32,
  teacher_offset: u32, teacher_row: u32, teacher_v: u32, entry_offset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> teacher: array<teacher_type>; // (rows, V) through strides
@group(0) @binding(2) var<storage, read_write> chosen: array<u32>; // (rows, k) ids; not touched where k = V
@group(0) @binding(3) var<storage, read_write> entries: array<u32>; // (rows, words)

const LOWEST = -3.4e38;
// f16's lowest: a word that the teacher rules out with −∞. Over any temperature e to that is 0.
const LOWEST_HALF = -65504.0;
// Stands for ln 0.
const LOG_ZERO = -1e30;
alias row_value = vec4f;
var<private> y0: u32; // where the row begins

// The sum over the lanes before this one.
fn before(value: vec4f, slot: u32, lane: u32) -> vec4f {
  if (LANES == 1u) { return vec4f(); }
  workgroupBarrier();
  partial[slot] = value;
  workgroupBarrier();
  var sum = vec4f();
  for (var other = slot - lane; other < slot; other++) { sum += partial[other]; }
  return sum;
}

fn logit(v: u32) -> f32 { return f32(teacher[y0 + v * params.teacher_v]); }

// A number with the order of its logit. Both zeros are one.
fn key(y: f32) -> u32 {
  let bits = bitcast<u32>(y);
  if (y == 0.0) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn value_of(row: u32, i: u32, largest: f32) -> f32 {
  if (i >= params.k) { return 0.0; }
  var v = i;
  if (params.k < params.V) { v = chosen[row * params.k + i]; }
  return max(logit(v) - largest, LOWEST_HALF);
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

  var rest = LOG_ZERO;
  if (k < params.V) {
    // Counts are sums of f32, exact up to 2^24 words.
    var bar = 0u; // of the k-th largest: no fewer than k keys are not below it
    for (var digit = 0u; digit < 16u; digit++) {
      let bit = 1u << (30u - 2u * digit);
      let candidates = bar + vec3u(bit, 2u * bit, 3u * bit);
      var counts = vec3f();
      for (var v = lane; v < params.V; v += LANES) {
        counts += select(vec3f(), vec3f(1.0), vec3u(key(logit(v))) >= candidates);
      }
      counts = row_sum(vec4f(counts, 0.0), slot, lane).xyz;
      bar += bit * u32(dot(select(vec3f(), vec3f(1.0), counts >= vec3f(f32(k))), vec3f(1.0)));
    }
    // A run of the vocabulary for each lane, so that what they choose comes in ascending order.
    let size = (params.V + LANES - 1u) / LANES;
    let start = lane * size;
    let end = min(start + size, params.V);
    var own = vec4f(); // above the bar, at it
    for (var v = start; v < end; v++) {
      let its = key(logit(v));
      own += vec4f(select(0.0, 1.0, its > bar), select(0.0, 1.0, its == bar), 0.0, 0.0);
    }
    var places = k - u32(row_sum(own, slot, lane).x); // left for those at the bar
    let earlier = before(own, slot, lane);
    let taken = min(u32(earlier.y), places);
    var at = row * k + u32(earlier.x) + taken;
    places -= taken;
    var sum = 0.0;
    var part = 0.0; // of 32 words: rounding grows with parts and their length, not with V
    for (var v = start; v < end; v++) {
      let y = logit(v);
      let its = key(y);
      if (its > bar || (its == bar && places > 0u)) {
        if (its == bar) { places--; }
        if (valid) { chosen[at] = v; }
        at++;
      } else {
        part += exp((y - largest) / params.temperature);
      }
      if (v % 32u == 31u) { sum += part; part = 0.0; }
    }
    let total = row_sum(vec4f(sum + part), slot, lane).x;
    if (total > 0.0) { rest = log(total); }
    if (LANES > 1u) { storageBarrier(); } // the row's ids are there for all of its lanes
  }
  if (!valid) { return; }
  let entry = params.entry_offset + row * params.words;
  let values = entry + select(0u, 1u, k < params.V);
  let pairs = (k + 1u) / 2u;
  for (var i = lane; i < pairs; i += LANES) {
    entries[values + i] = pack2x16float(vec2f(value_of(row, 2u * i, largest), value_of(row, 2u * i + 1u, largest)));
  }
  if (k == params.V) { return; }
  if (lane == 0u) { entries[entry] = bitcast<u32>(rest); }
  let ids = values + pairs;
  let own_ids = row * k;
  if (params.narrow == 0u) {
    for (var i = lane; i < k; i += LANES) { entries[ids + i] = chosen[own_ids + i]; }
  } else {
    for (var i = lane; i < pairs; i += LANES) {
      var word = chosen[own_ids + 2u * i];
      if (2u * i + 1u < k) { word |= chosen[own_ids + 2u * i + 1u] << 16u; }
      entries[ids + i] = word;
    }
  }
}
