// Generalised Jensen–Shannon divergence, for distil.wgsl: m = β p + (1 − β) q; β KL(p ‖ m) + (1 − β) KL(q ‖ m).
// T · dz = q (h − Σ q h), h = (1 − β) (ln q − ln m) up to a constant, which the mean takes away.
// m is never formed, since p or q may underflow: ln(m/q) = ln(1 − β) + softplus(s), s = ln p − ln q + ln(β / (1 − β)).

fn value(lp: f32, lq: f32, beta: f32) -> f32 {
  let ratio = log(1.0 - beta) + softplus(lp - lq + log(beta / (1.0 - beta)));
  return beta * exp(lp) * (lp - lq - ratio) - (1.0 - beta) * exp(lq) * ratio;
}

fn pull(lp: f32, lq: f32, beta: f32) -> f32 { return -(1.0 - beta) * softplus(lp - lq + log(beta / (1.0 - beta))); }

fn slope(lp: f32, lq: f32, h: f32, mean: f32) -> f32 { return exp(lq) * (h - mean); }
