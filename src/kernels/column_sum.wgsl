// sums (N) += Σ x (rows, N) over rows, always in the same order.
// Aliases: scalar. Constants: LANES (threads that share a column).

struct Params {
  rows: u32,
  N: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<scalar>; // (rows, N)
@group(0) @binding(2) var<storage, read_write> sums: array<f32>; // (N)

var<workgroup> partial: array<f32, 16 * LANES>;

@compute @workgroup_size(16, LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let n = group.x * 16 + local.x;
  let column = min(n, params.N - 1);
  var sum = 0.0;
  for (var row = local.y; row < params.rows; row += LANES) {
    sum += f32(x[row * params.N + column]);
  }
  if (LANES > 1u) {
    let slot = local.y * 16 + local.x;
    partial[slot] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
      workgroupBarrier(); // the other half has written what is read here
      if (local.y < half) { partial[slot] += partial[slot + half * 16]; }
    }
    sum = partial[local.x];
  }
  if (local.y == 0u && n < params.N) { sums[n] += sum; }
}
