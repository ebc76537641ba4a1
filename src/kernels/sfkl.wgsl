// Skew forward KL, with the mixture m = β p + (1 − β) q:
//
//   D = KL(p ‖ m), dD = q (h − Σ q h), h = −(1 − β) p/m
//
// m itself is not computed, since p or q may underflow. With s = ln p − ln q + ln(β / (1 − β)),
// ln(m/p) = ln β + softplus(−s) and p/m = sigmoid(s) / β. See distil.wgsl.

#include "distil.wgsl"

fn divergence(log_p: f32, log_q: f32, beta: f32) -> f32 {
  return -exp(log_p) * (log(beta) + softplus(log_q - log_p - log(beta / (1.0 - beta))));
}

fn dlogq(log_p: f32, log_q: f32, beta: f32) -> f32 {
  let odds = beta / (1.0 - beta);
  return -exp(-softplus(log_q - log_p - log(odds))) / odds;
}

fn dlogits(log_p: f32, log_q: f32, h: f32, mean: f32) -> f32 {
  return exp(log_q) * (h - mean);
}
