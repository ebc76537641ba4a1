// The losses of all routers, from the sums of their terms (router_terms.wgsl) over the M rows of
// all layers. With f, the share of the rows that chose an expert, and P, its mean probability:
//
//   balance = E · Σ f · P
//   z = mean lse²
//   kd = the mean divergence from the teacher's routers

struct Params { E: u32, M: f32, first: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> statistics: array<f32>; // (2·E + 2): the sums
@group(0) @binding(2) var<storage, read_write> sums: array<f32>; // added to, from `first` on

@compute @workgroup_size(1)
fn main() {
  let E = params.E;
  var balance = 0.0;
  for (var e = 0u; e < E; e++) {
    balance += statistics[E + e] / params.M * (statistics[e] / params.M);
  }
  sums[params.first] += f32(E) * balance;
  sums[params.first + 1] += statistics[2 * E] / params.M;
  sums[params.first + 2] += statistics[2 * E + 1] / params.M;
}
