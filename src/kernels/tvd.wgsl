// Total variation: D = ½ Σ |p − q|, dD = q (h − Σ q h) with h = ½ sign(q − p). See distil.wgsl.

#include "distil.wgsl"

fn divergence(log_p: f32, log_q: f32, beta: f32) -> f32 {
  return 0.5 * abs(exp(log_p) - exp(log_q));
}

fn dlogq(log_p: f32, log_q: f32, beta: f32) -> f32 {
  return 0.5 * sign(exp(log_q) - exp(log_p));
}

fn dlogits(log_p: f32, log_q: f32, h: f32, mean: f32) -> f32 {
  return exp(log_q) * (h - mean);
}
