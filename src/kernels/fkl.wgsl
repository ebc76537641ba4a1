// Forward KL: D = KL(p ‖ q) = Σ p (ln p − ln q), dD = q − p. See distil.wgsl.
// The gradient needs no h, and nothing in it cancels.

#include "distil.wgsl"

fn divergence(log_p: f32, log_q: f32, beta: f32) -> f32 {
  return exp(log_p) * (log_p - log_q);
}

fn dlogq(log_p: f32, log_q: f32, beta: f32) -> f32 {
  return 0.0;
}

fn dlogits(log_p: f32, log_q: f32, h: f32, mean: f32) -> f32 {
  return exp(log_q) - exp(log_p);
}
