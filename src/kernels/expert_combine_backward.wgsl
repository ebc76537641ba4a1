// Backward of expert_combine.wgsl with weights. At the place of row's choice j:
//
//   dx (rows · k, C) = weights_j · dy
//   dweights_j = Σ dy · x
//
// Aliases: scalar. Constants: LANES (threads a choice).

#include "rows.wgsl"

struct Params { count: u32, C: u32, k: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows · k, C), sorted by expert
@group(0) @binding(2) var<storage, read> places: array<u32>; // (rows, k)
@group(0) @binding(3) var<storage, read> weights: array<f32>; // (rows, k)
@group(0) @binding(4) var<storage, read> dy: array<scalar>; // (rows, C)
@group(0) @binding(5) var<storage, read_write> dx: array<scalar>; // (rows · k, C)
@group(0) @binding(6) var<storage, read_write> dweights: array<f32>; // (rows, k)

alias row_value = f32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let choice = group.x * ROWS + slot / LANES;
  let safe_choice = min(choice, params.count - 1);
  let source = safe_choice / params.k * params.C;
  let place = places[safe_choice] * params.C;
  let weight = weights[safe_choice];
  var sum = 0.0;
  for (var c = lane; c < params.C; c += LANES) {
    sum += f32(dy[source + c]) * f32(x[place + c]);
  }
  sum = row_sum(sum, slot, lane);
  if (choice >= params.count) { return; }
  for (var c = lane; c < params.C; c += LANES) {
    dx[place + c] = scalar(weight * f32(dy[source + c]));
  }
  if (lane == 0u) { dweights[choice] = sum; }
}
