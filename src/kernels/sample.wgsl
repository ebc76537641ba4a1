// Samples one token from each row of logits: one of its K most likely tokens, with probabilities in
// proportion to exp(logit / temperature). The K tokens share the range 0 to 1, the most likely
// first and, of equal logits, the lowest id first; the row's roll, a random number in that range,
// falls into the share of one. Constants: K, LANES (threads a row).
//
// Each thread finds the best token of its lane that is not listed yet. The best of all lanes joins
// the list, K times, and only its thread searches again. So the row is read once, and one lane's
// share of it again for each listed token.

struct Params {
  V: u32,
  temperature: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>; // (rows, V)
@group(0) @binding(2) var<storage, read> rolls: array<f32>; // (rows)
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>; // (rows)

const HIGHEST = 3.4e38;
// The best token of each lane that is not listed yet.
var<workgroup> lane_logit: array<f32, LANES>;
var<workgroup> lane_token: array<u32, LANES>;
// The row's best tokens, in order.
var<workgroup> top_logit: array<f32, K>;
var<workgroup> top_token: array<u32, K>;

// Whether token v with logit y comes before the other one.
fn before(y: f32, v: u32, other_y: f32, other_v: u32) -> bool {
  return y > other_y || (y == other_y && v < other_v);
}

// The best token of the lane that comes after token v with logit y.
fn find_next(row: u32, lane: u32, y: f32, v: u32) {
  var best_y = -HIGHEST;
  var best_v = params.V; // none
  for (var other = lane; other < params.V; other += LANES) {
    let other_y = logits[row * params.V + other];
    if (before(y, v, other_y, other) && before(other_y, other, best_y, best_v)) {
      best_y = other_y;
      best_v = other;
    }
  }
  lane_logit[lane] = best_y;
  lane_token[lane] = best_v;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  find_next(row, lane, HIGHEST, 0u);
  for (var i = 0u; i < K; i++) {
    workgroupBarrier(); // every lane has written its best token
    var winner = 0u;
    for (var other = 1u; other < LANES; other++) {
      if (before(lane_logit[other], lane_token[other], lane_logit[winner], lane_token[winner])) {
        winner = other;
      }
    }
    let y = lane_logit[winner];
    let v = lane_token[winner];
    workgroupBarrier(); // every lane has read the winner, which is overwritten next
    if (lane == winner) {
      top_logit[i] = y;
      top_token[i] = v;
      find_next(row, lane, y, v);
    }
  }
  workgroupBarrier(); // the last token is listed
  if (lane != 0u) { return; }
  var total = 0.0;
  for (var i = 0u; i < K; i++) {
    total += exp((top_logit[i] - top_logit[0]) / params.temperature);
  }
  var left = rolls[row] * total;
  var chosen = top_token[0];
  for (var i = 0u; i < K; i++) {
    left -= exp((top_logit[i] - top_logit[0]) / params.temperature);
    if (left < 0.0) {
      chosen = top_token[i];
      break;
    }
  }
  // If every logit is NaN no token was found: clamp the id.
  tokens[row] = min(chosen, params.V - 1u);
}
