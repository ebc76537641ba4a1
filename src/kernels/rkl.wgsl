// Reverse KL(q ‖ p) = Σ q (ln q − ln p), for distil.wgsl. T · dz = q (ln q − ln p − KL).

fn term(lp: f32, lq: f32, beta: f32) -> vec2f { return vec2f(exp(lq) * (lq - lp)); }

fn slope(lp: f32, lq: f32, beta: f32, sum: f32) -> f32 { return exp(lq) * (lq - lp - sum); }
