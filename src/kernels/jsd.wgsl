// Generalised Jensen–Shannon divergence, for distil.wgsl: m = β p + (1 − β) q; β KL(p ‖ m) + (1 −
// β) KL(q ‖ m). T · dz = q (h − Σ q h), h = (1 − β) (ln q − ln m) up to a constant, which the mean
// takes away. m is never formed, since p or q may underflow: with s = ln p − ln q + ln(β / (1 −
// β)), ln(m/q) = ln(1 − β) + softplus(s) and ln(m/p) = ln β + softplus(−s).

#include "distil.wgsl"

fn value(lp: f32, lq: f32, beta: f32) -> f32 {
  let s = lp - lq + log(beta / (1.0 - beta));
  let forward = log(beta) + softplus(-s); // ln(m/p)
  let reverse = log(1.0 - beta) + softplus(s); // ln(m/q)
  return -beta * exp(lp) * forward - (1.0 - beta) * exp(lq) * reverse;
}

fn pull(lp: f32, lq: f32, beta: f32) -> f32 { return -(1.0 - beta) * softplus(lp - lq + log(beta / (1.0 - beta))); }

fn slope(lp: f32, lq: f32, h: f32, mean: f32) -> f32 { return exp(lq) * (h - mean); }
