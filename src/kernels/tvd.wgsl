// Total variation ½ Σ |p − q|, for distil.wgsl. s = ½ sign(q − p); T · dz = q (s − Σ q s).

fn term(lp: f32, lq: f32, beta: f32) -> vec2f {
  let difference = exp(lq) - exp(lp);
  return 0.5 * vec2f(abs(difference), exp(lq) * sign(difference));
}

fn slope(lp: f32, lq: f32, beta: f32, sum: f32) -> f32 {
  return exp(lq) * (0.5 * sign(exp(lq) - exp(lp)) - sum);
}
