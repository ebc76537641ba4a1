// Generalised Jensen–Shannon divergence, with the mixture m = β p + (1 − β) q:
//
//   D = β KL(p ‖ m) + (1 − β) KL(q ‖ m)
//   dD = q (h − Σ q h), h = (1 − β) (ln q − ln m) plus a constant, which the mean removes
//
// m itself is not computed, since p or q may underflow. With s = ln p − ln q + ln(β / (1 − β)),
// ln(m/q) = ln(1 − β) + softplus(s) and ln(m/p) = ln β + softplus(−s). See distil.wgsl.

#include "distil.wgsl"

fn divergence(log_p: f32, log_q: f32, beta: f32) -> f32 {
  let s = log_p - log_q + log(beta / (1.0 - beta));
  let log_m_p = log(beta) + softplus(-s);
  let log_m_q = log(1.0 - beta) + softplus(s);
  return -beta * exp(log_p) * log_m_p - (1.0 - beta) * exp(log_q) * log_m_q;
}

fn dlogq(log_p: f32, log_q: f32, beta: f32) -> f32 {
  return -(1.0 - beta) * softplus(log_p - log_q + log(beta / (1.0 - beta)));
}

fn dlogits(log_p: f32, log_q: f32, h: f32, mean: f32) -> f32 {
  return exp(log_q) * (h - mean);
}
