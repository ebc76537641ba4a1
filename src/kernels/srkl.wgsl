// Skew reverse KL, with the mixture m = (1 − β) p + β q:
//
//   D = KL(q ‖ m), dD = q (h − Σ q h), h = ln(q/m) − β q/m plus a constant, which the mean removes
//
// m itself is not computed, since p or q may underflow: ln(m/q) = ln β + u with
// u = softplus(ln p − ln q + ln((1 − β) / β)), and so h = −(u − 1 + exp(−u)). See distil.wgsl.

#include "distil.wgsl"

fn divergence(log_p: f32, log_q: f32, beta: f32) -> f32 {
  return -exp(log_q) * (log(beta) + softplus(log_p - log_q + log((1.0 - beta) / beta)));
}

fn dlogq(log_p: f32, log_q: f32, beta: f32) -> f32 {
  let u = softplus(log_p - log_q + log((1.0 - beta) / beta));
  // Near 0 the sum cancels down to u² / 2.
  let series = u * u * (0.5 - u * (1.0 / 6.0 - u * (1.0 / 24.0 - u / 120.0)));
  return -select(u - 1.0 + exp(-u), series, u < 0.1);
}

fn dlogits(log_p: f32, log_q: f32, h: f32, mean: f32) -> f32 {
  return exp(log_q) * (h - mean);
}
