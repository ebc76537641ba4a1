// Skew forward KL, for distil.wgsl: m = β p + (1 − β) q; KL(p ‖ m). T · dz = (1 − β) q (Σ q p/m − p/m).

fn log_mixture(lp: f32, lq: f32, beta: f32) -> f32 {
  let a = lp + log(beta);
  let b = lq + log(1.0 - beta);
  return max(a, b) + log(1.0 + exp(-abs(a - b)));
}

fn term(lp: f32, lq: f32, beta: f32) -> vec2f {
  let lm = log_mixture(lp, lq, beta);
  return vec2f(exp(lp) * (lp - lm), exp(lq + lp - lm));
}

fn slope(lp: f32, lq: f32, beta: f32, sum: f32) -> f32 {
  return (1.0 - beta) * exp(lq) * (sum - exp(lp - log_mixture(lp, lq, beta)));
}
