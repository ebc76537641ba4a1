// The sigmoid in silu(g) = g · sigmoid(g).

/** 1 / (1 + e^−g), without an infinite exponential: at −80 it is nearly 0 in f32. */
fn sigmoid(g: f32) -> f32 {
  return 1.0 / (1.0 + exp(-max(g, -80.0)));
}
