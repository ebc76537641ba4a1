// Forward KL(p ‖ q) = Σ p (ln p − ln q), for distil.wgsl. T · dz = q − p, with nothing to cancel.

#include "distil.wgsl"

fn value(lp: f32, lq: f32, beta: f32) -> f32 { return exp(lp) * (lp - lq); }

fn pull(lp: f32, lq: f32, beta: f32) -> f32 { return 0.0; }

fn slope(lp: f32, lq: f32, h: f32, mean: f32) -> f32 { return exp(lq) - exp(lp); }
