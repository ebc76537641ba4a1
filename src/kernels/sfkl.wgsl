// Skew forward KL, for distil.wgsl: m = β p + (1 − β) q; KL(p ‖ m). T · dz = q (h − Σ q h), h = −(1
// − β) p/m. m is never formed, since p or q may underflow: with s = ln p − ln q + ln(β / (1 − β)),
// ln(m/p) = ln β + softplus(−s) and p/m = sigmoid(s) / β.

#include "distil.wgsl"

fn value(lp: f32, lq: f32, beta: f32) -> f32 {
  return -exp(lp) * (log(beta) + softplus(lq - lp - log(beta / (1.0 - beta))));
}

fn pull(lp: f32, lq: f32, beta: f32) -> f32 {
  let odds = beta / (1.0 - beta);
  return -exp(-softplus(lq - lp - log(odds))) / odds;
}

fn slope(lp: f32, lq: f32, h: f32, mean: f32) -> f32 { return exp(lq) * (h - mean); }
