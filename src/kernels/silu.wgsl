// The sigmoid in silu(g) = g · sigmoid(g).

/** 1 / (1 + e^−g), without an infinite exponential: below −80 it is 0 in f16, and nearly so in f32. */
fn sigmoid(g: f32) -> f32 {
  return 1.0 / (1.0 + exp(-max(g, -80.0)));
}
