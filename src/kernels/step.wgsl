// What changes from step to step. A uniform, written before each step: see STEP in sources.ts.

struct Step {
  learning_rate: f32,
  temperature: f32,
  alpha: f32, // the share of the distillation loss
  inverse_tokens: f32, // 1 / targets that are not ignored in the whole step; 0 without any
  router_balance: f32, // the weights of the routers’ losses, over the batches of the step
  router_z: f32,
  router_kd: f32,
}
