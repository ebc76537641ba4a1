// The loss scaler's state: kept on the GPU, changed by loss_scaler.wgsl alone, copied back with
// each step's record. See SCALER in sources.ts.

struct Scaler {
  scale: f32, // of the next step; the loss kernels multiply by it
  good_steps: u32, // since the scale last changed
  applied: u32, // optimiser steps done
  skipped: u32,
  apply: u32, // 1 if the optimiser may apply this step
  factor: f32, // what it multiplies gradients by
  power1: f32, // beta1 ^ applied
  power2: f32, // beta2 ^ applied
  norm: f32, // of the gradient, unscaled, before clipping
  used_scale: f32, // the scale that this step ran with
}
