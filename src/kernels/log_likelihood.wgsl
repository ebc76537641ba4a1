// ln softmax(z / T) of the token that each row predicts, for rows of logits z (rows, V). A row
// whose target is ignored gives 0. Aliases: logits_type. Constants: LANES (threads a row).

#include "logits.wgsl"
#include "step.wgsl"

struct Params {
  first: u32, // row of the B·T that `logits` starts with
  rows: u32,
  V: u32,
  ignore: i32,
  offset: u32,
  row_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> logits: array<logits_type>; // (rows, V) through a stride
@group(0) @binding(3) var<storage, read> targets: array<i32>; // (B·T)
@group(0) @binding(4) var<storage, read_write> result: array<f32>; // (B·T)

alias row_value = f32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let local = group.x * ROWS + slot / LANES;
  let valid = local < params.rows;
  let row = min(local, params.rows - 1u);
  let z0 = params.offset + row * params.row_stride;
  var largest = LOWEST;
  for (var v = lane; v < params.V; v += LANES) { largest = max(largest, f32(logits[z0 + v])); }
  largest = row_max(largest, slot, lane);
  var sum = 0.0;
  for (var block = lane; block < params.V; block += BLOCK) {
    var block_sum = 0.0;
    for (var v = block; v < min(block + BLOCK, params.V); v += LANES) {
      block_sum += exp((f32(logits[z0 + v]) - largest) / step.temperature);
    }
    sum += block_sum;
  }
  sum = row_sum(sum, slot, lane);
  if (!valid || lane != 0u) { return; }
  let token = targets[params.first + row];
  var likelihood = 0.0;
  if (token != params.ignore) {
    likelihood = (f32(logits[z0 + u32(token)]) - largest) / step.temperature - log(sum);
  }
  result[params.first + row] = likelihood;
}
