// Sorts the choices of a router, (rows, k), by expert; those of one expert keep their order. Choice
// i is row i / k's.
//
//   starts (E + 1): where each expert's choices begin in the sorted order
//   order (rows · k): the choice at each place
//   places (rows · k): the place of each choice
//
// LANES threads take an expert. Each looks through a run of all choices, so that the runs' counts
// say where it writes. Constants: LANES.

#include "rows.wgsl"

struct Params { count: u32, E: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> chosen: array<u32>; // (count)
@group(0) @binding(2) var<storage, read_write> starts: array<u32>; // (E + 1)
@group(0) @binding(3) var<storage, read_write> order: array<u32>; // (count)
@group(0) @binding(4) var<storage, read_write> places: array<u32>; // (count)

alias row_value = vec2u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) slot: u32) {
  let lane = slot % LANES;
  let expert = group.x * ROWS + slot / LANES;
  let size = (params.count + LANES - 1u) / LANES;
  let first = lane * size;
  let end = min(first + size, params.count);
  var counts = vec2u(); // choices of lower experts, and of this one
  for (var i = first; i < end; i++) {
    counts += select(vec2u(), vec2u(1), vec2<bool>(chosen[i] < expert, chosen[i] == expert));
  }
  let start = row_sum(counts, slot, lane).x;
  var at = start + sum_before(counts, slot, lane).y;
  if (expert > params.E) { return; }
  if (lane == 0u) { starts[expert] = start; }
  for (var i = first; i < end; i++) {
    if (chosen[i] == expert) {
      order[at] = i;
      places[i] = at;
      at++;
    }
  }
}
