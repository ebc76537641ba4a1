// Generalised Jensen–Shannon divergence, for distil.wgsl: m = β p + (1 − β) q; β KL(p ‖ m) + (1 − β) KL(q ‖ m).
// T · dz = (1 − β) q (ln q − ln m − KL(q ‖ m)). The mixture is formed from logarithms, since p or q may underflow.

fn log_mixture(lp: f32, lq: f32, beta: f32) -> f32 {
  let a = lp + log(beta);
  let b = lq + log(1.0 - beta);
  return max(a, b) + log(1.0 + exp(-abs(a - b)));
}

fn term(lp: f32, lq: f32, beta: f32) -> vec2f {
  let lm = log_mixture(lp, lq, beta);
  let reverse = exp(lq) * (lq - lm);
  return vec2f(beta * exp(lp) * (lp - lm) + (1.0 - beta) * reverse, reverse);
}

fn slope(lp: f32, lq: f32, beta: f32, sum: f32) -> f32 {
  return (1.0 - beta) * exp(lq) * (lq - log_mixture(lp, lq, beta) - sum);
}
