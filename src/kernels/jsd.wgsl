// Generalised Jensen–Shannon divergence, for distil.wgsl: m = β p + (1 − β) q; β KL(p ‖ m) + (1 − β) KL(q ‖ m).
// T · dz = (1 − β) q (ln q − ln m − KL(q ‖ m)).

// ln(m/q) = ln(1 − β + β p/q), from the logarithms' difference: p and q may underflow, and where they are near each other the
// large logarithms would cancel.
fn log_mixture_over_q(d: f32, beta: f32) -> f32 {
  return max(d, 0.0) + log(mix(exp(-max(d, 0.0)), exp(min(d, 0.0)), beta));
}

fn term(lp: f32, lq: f32, beta: f32) -> vec2f {
  let d = lp - lq;
  let ratio = log_mixture_over_q(d, beta);
  let reverse = -exp(lq) * ratio;
  return vec2f(beta * exp(lp) * (d - ratio) + (1.0 - beta) * reverse, reverse);
}

fn slope(lp: f32, lq: f32, beta: f32, sum: f32) -> f32 {
  return (1.0 - beta) * exp(lq) * (-log_mixture_over_q(lp - lq, beta) - sum);
}
