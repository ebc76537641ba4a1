// The sum of what a row's experts make of it, back in the order of rows:
//
//   y (rows, C) = Σ_j [weights_j ·] x[places_j] [+ addend]
//
// Without weights it is the backward of expert_gather.wgsl. Aliases: scalar. Constants: WEIGHTED,
// ADDEND (0 or 1).

struct Params { count: u32, C: u32, k: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows · k, C), sorted by expert
@group(0) @binding(2) var<storage, read> places: array<u32>; // (rows, k)
@group(0) @binding(3) var<storage, read_write> y: array<scalar>; // (rows, C)
#if WEIGHTED
@group(0) @binding(4) var<storage, read> weights: array<f32>; // (rows, k)
#endif
#if ADDEND
@group(0) @binding(5) var<storage, read> addend: array<scalar>; // (rows, C)
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < params.count; i += 64 * groups.x) {
    let first = i / params.C * params.k;
    var sum = 0.0;
    for (var j = first; j < first + params.k; j++) {
      var value = f32(x[places[j] * params.C + i % params.C]);
      #if WEIGHTED
      value *= weights[j];
      #endif
      sum += value;
    }
    #if ADDEND
    sum += f32(addend[i]);
    #endif
    y[i] = scalar(sum);
  }
}
