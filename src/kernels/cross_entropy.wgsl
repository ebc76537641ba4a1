// Cross-entropy of a row of logits z with the target token t, label smoothing e, z-loss weight l:
//
//   ce = (1 − e)(lse − z_t) + e (lse − mean z) + l · lse², lse = ln Σ exp z
//   dce/dz_v = (1 + 2 l · lse) softmax(z)_v − (1 − e) [v = t] − e / V
//
// Needs V, label_smoothing (e) and z_loss (l) in Params.

// nll = lse − z_t; log_sum = ln Σ exp z and sum_z = Σ z are of logits minus the row's largest.
fn cross_entropy(nll: f32, log_sum: f32, sum_z: f32, lse: f32) -> f32 {
  let smoothed = mix(nll, log_sum - sum_z / f32(params.V), params.label_smoothing);
  return smoothed + params.z_loss * lse * lse;
}

fn cross_entropy_gradient(softmax: f32, is_target: bool, lse: f32) -> f32 {
  return (1.0 + 2.0 * params.z_loss * lse) * softmax
    - select(0.0, 1.0 - params.label_smoothing, is_target)
    - params.label_smoothing / f32(params.V);
}
