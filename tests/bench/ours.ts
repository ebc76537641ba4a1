// Stillhouse as a contestant: the page's trainer on its own device.

import { DEFAULTS } from '../../src/config';
import { type ProfileReport, summarise } from '../../src/distill/profile/profile';
import { rooflineOf } from '../../src/distill/profile/roofline';
import type { StepRecord } from '../../src/distill/records';
import { Trainer } from '../../src/distill/trainer';
import type { Gpu } from '../../src/gpu/device';
import { Pool } from '../../src/gpu/program';
import { tuneMatmul } from '../../src/kernels/matmul_tuning';
import { ADAM, type Training, type TrainingTask } from './peer';

/**
 * PyTorch's GradScaler begins here, and halves it as often as needed: the first steps of f16 may be
 * skipped.
 */
const LOSS_SCALE = 65536;

export async function ourTraining(
  gpu: Gpu,
  dtype: 'f16' | 'f32',
  task: TrainingTask<unknown>,
): Promise<Training & { profile(): Promise<ProfileReport> }> {
  const { model, weights, B, T, batch } = task;
  const pool = new Pool(gpu);
  const { learningRate, ...adam } = ADAM;
  let last: StepRecord | undefined;
  // As a run does before it builds anything.
  await tuneMatmul(gpu, dtype);
  const trainer = await Trainer.create(
    gpu,
    pool,
    {
      student: model,
      dtype,
      batchSize: B,
      contextLength: T,
      initialLossScale: LOSS_SCALE,
      loss: { ...DEFAULTS, loss: 'ce' },
      adam: { ...adam, maxGradNorm: 0 },
    },
    weights,
    undefined,
    (record) => {
      last = record;
    },
  );
  let step = 0;
  return {
    name: `stillhouse ${dtype}`,
    kind: 'ours',
    async profile() {
      const times = await trainer.profile([batch], { step: step + 1, temperature: 1, alpha: 0 });
      return summarise(times, await rooflineOf(gpu));
    },
    async run() {
      await trainer.step([batch], { step: ++step, learningRate, temperature: 1, alpha: 0 });
      await gpu.idle();
    },
    async loss() {
      await trainer.drain();
      if (!last?.applied)
        throw new Error(
          `bench: step ${step} was ${last ? 'skipped' : 'not recorded'}. ` +
            `Its loss scale is ${last?.lossScale}.`,
        );
      return last.loss;
    },
    async end() {
      trainer.destroy();
      pool.destroy();
    },
  };
}
