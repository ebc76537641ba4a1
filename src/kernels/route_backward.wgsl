// Backward of route.wgsl. With the weights w of a row's chosen experts and their gradients dw:
//
//   dp_j = scale · dw_j, or (scale · dw_j − Σ dw · w) / Σ p of the chosen where weights are
//          normalised
//   dlogits (rows, E) = p · (dp − Σ dp · p), of sigmoids p · (1 − p) · dp,
//          dp being 0 for experts that are not chosen
//
// Constants, 0 or 1: NORMALISED, SIGMOID.

struct Params { rows: u32, E: u32, k: u32, scale: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<f32>; // (rows, E)
@group(0) @binding(2) var<storage, read> chosen: array<u32>; // (rows, k)
@group(0) @binding(3) var<storage, read> weights: array<f32>; // (rows, k)
@group(0) @binding(4) var<storage, read> dweights: array<f32>; // (rows, k)
@group(0) @binding(5) var<storage, read_write> dlogits: array<f32>; // (rows, E)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= params.rows) { return; }
  let first = row * params.E;
  let first_chosen = row * params.k;
  var mean = 0.0; // Σ dw · w
  var sum = 1.0; // of the chosen p
  #if NORMALISED
  sum = 0.0;
  for (var j = first_chosen; j < first_chosen + params.k; j++) {
    mean += dweights[j] * weights[j];
    sum += p[first + chosen[j]];
  }
  #endif
  var along = 0.0; // Σ dp · p
  #if SIGMOID
  #else
  for (var j = first_chosen; j < first_chosen + params.k; j++) {
    along += (params.scale * dweights[j] - mean) / sum * p[first + chosen[j]];
  }
  #endif
  for (var e = 0u; e < params.E; e++) { dlogits[first + e] = -p[first + e] * along; }
  for (var j = first_chosen; j < first_chosen + params.k; j++) {
    let e = first + chosen[j];
    var slope = p[e];
    #if SIGMOID
    slope *= 1.0 - p[e];
    #endif
    dlogits[e] += slope * (params.scale * dweights[j] - mean) / sum;
  }
}
