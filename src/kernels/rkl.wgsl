// Reverse KL(q ‖ p) = Σ q (ln q − ln p), for distil.wgsl. T · dz = q (h − Σ q h), h = ln q − ln p.

#include "distil.wgsl"

fn value(lp: f32, lq: f32, beta: f32) -> f32 { return exp(lq) * (lq - lp); }

fn pull(lp: f32, lq: f32, beta: f32) -> f32 { return lq - lp; }

fn slope(lp: f32, lq: f32, h: f32, mean: f32) -> f32 { return exp(lq) * (h - mean); }
