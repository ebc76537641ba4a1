// Forward KL(p ‖ q) = Σ p (ln p − ln q), for distil.wgsl. T · dz = q − p.

fn term(lp: f32, lq: f32, beta: f32) -> vec2f { return vec2f(exp(lp) * (lp - lq), 0.0); }

fn slope(lp: f32, lq: f32, beta: f32, sum: f32) -> f32 { return exp(lq) - exp(lp); }
