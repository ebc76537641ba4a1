// Total variation ½ Σ |p − q|, for distil.wgsl. T · dz = q (h − Σ q h), h = ½ sign(q − p).

#include "distil.wgsl"

fn value(lp: f32, lq: f32, beta: f32) -> f32 { return 0.5 * abs(exp(lp) - exp(lq)); }

fn pull(lp: f32, lq: f32, beta: f32) -> f32 { return 0.5 * sign(exp(lq) - exp(lp)); }

fn slope(lp: f32, lq: f32, h: f32, mean: f32) -> f32 { return exp(lq) * (h - mean); }
