// Skew reverse KL, for distil.wgsl: m = (1 − β) p + β q; KL(q ‖ m). T · dz = q (h − Σ q h), h =
// ln(q/m) − β q/m up to a constant, which the mean takes away. m is never formed, since p or q may
// underflow: ln(m/q) = ln β + u, u = softplus(ln p − ln q + ln((1 − β) / β)), so that h = −(u − 1 +
// exp(−u)).

#include "distil.wgsl"

fn value(lp: f32, lq: f32, beta: f32) -> f32 {
  return -exp(lq) * (log(beta) + softplus(lp - lq + log((1.0 - beta) / beta)));
}

fn pull(lp: f32, lq: f32, beta: f32) -> f32 {
  let u = softplus(lp - lq + log((1.0 - beta) / beta));
  // Near 0 the sum cancels down to u² / 2.
  let series = u * u * (0.5 - u * (1.0 / 6.0 - u * (1.0 / 24.0 - u / 120.0)));
  return -select(u - 1.0 + exp(-u), series, u < 0.1);
}

fn slope(lp: f32, lq: f32, h: f32, mean: f32) -> f32 { return exp(lq) * (h - mean); }
