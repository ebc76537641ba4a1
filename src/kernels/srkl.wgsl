// Skew reverse KL, for distil.wgsl: m = (1 − β) p + β q; KL(q ‖ m). h = ln(q/m) − β q/m; T · dz = q (h − Σ q h).

fn ratio_and_h(lp: f32, lq: f32, beta: f32) -> vec2f {
  let a = lp + log(1.0 - beta);
  let b = lq + log(beta);
  let ratio = lq - (max(a, b) + log(1.0 + exp(-abs(a - b))));
  return vec2f(ratio, ratio - beta * exp(ratio));
}

fn term(lp: f32, lq: f32, beta: f32) -> vec2f { return exp(lq) * ratio_and_h(lp, lq, beta); }

fn slope(lp: f32, lq: f32, beta: f32, sum: f32) -> f32 { return exp(lq) * (ratio_and_h(lp, lq, beta).y - sum); }
