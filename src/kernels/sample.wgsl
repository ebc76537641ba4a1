// One token of each row of logits: of its K likeliest words, the likeliest first, the one that the
// row's roll, 0 to 1, falls on when they share that range by exp(logit / temperature). Of equal
// logits the lower ids come first. Each thread keeps the first of its own words that is not taken
// yet; what is first among those is taken, K times, and its thread looks for the next. So the row
// is read once, and a thread's part of it again for each word taken. Constants: K, LANES (threads a
// row).

struct Params { V: u32, temperature: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // (rows, V)
@group(0) @binding(2) var<storage, read> rolls: array<f32>; // (rows)
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>; // (rows)

const HIGHEST = 3.4e38;
var<workgroup> first_value: array<f32, LANES>;
var<workgroup> first_word: array<u32, LANES>;
var<workgroup> value: array<f32, K>;
var<workgroup> word: array<u32, K>;

fn before(y: f32, v: u32, other_y: f32, other_v: u32) -> bool {
  return y > other_y || (y == other_y && v < other_v);
}

// The first of the lane's words behind v, whose logit is y.
fn find(row: u32, lane: u32, y: f32, v: u32) {
  var best = -HIGHEST;
  var found = params.V; // none
  for (var other = lane; other < params.V; other += LANES) {
    let its = logits[row * params.V + other];
    if (before(y, v, its, other) && before(its, other, best, found)) {
      best = its;
      found = other;
    }
  }
  first_value[lane] = best;
  first_word[lane] = found;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  find(row, lane, HIGHEST, 0u);
  for (var i = 0u; i < K; i++) {
    workgroupBarrier(); // each lane has its first
    var winner = 0u;
    for (var other = 1u; other < LANES; other++) {
      if (before(first_value[other], first_word[other], first_value[winner], first_word[winner])) { winner = other; }
    }
    let y = first_value[winner];
    let v = first_word[winner];
    workgroupBarrier(); // all have seen it
    if (lane == winner) {
      value[i] = y;
      word[i] = v;
      find(row, lane, y, v);
    }
  }
  workgroupBarrier(); // the last is taken
  if (lane != 0u) { return; }
  var total = 0.0;
  for (var i = 0u; i < K; i++) { total += exp((value[i] - value[0]) / params.temperature); }
  var left = rolls[row] * total;
  var chosen = word[0];
  for (var i = 0u; i < K; i++) {
    left -= exp((value[i] - value[0]) / params.temperature);
    if (left < 0.0) {
      chosen = word[i];
      break;
    }
  }
  // Of a row without a number there is none.
  tokens[row] = min(chosen, params.V - 1u);
}
