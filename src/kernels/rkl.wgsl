// Reverse KL: D = KL(q ‖ p) = Σ q (ln q − ln p), dD = q (h − Σ q h) with h = ln q − ln p.
// See distil.wgsl.

#include "distil.wgsl"

fn divergence(log_p: f32, log_q: f32, beta: f32) -> f32 {
  return exp(log_q) * (log_q - log_p);
}

fn dlogq(log_p: f32, log_q: f32, beta: f32) -> f32 {
  return log_q - log_p;
}

fn dlogits(log_p: f32, log_q: f32, h: f32, mean: f32) -> f32 {
  return exp(log_q) * (h - mean);
}
