// Packed documents against transformers' models with a mask of blocks: a step's loss and gradients,
// a teacher's logits, and activations computed again. Tolerances are those of golden-run.test.ts.

import { describe, expect } from 'vitest';
import { DEFAULTS } from '../../src/config';
import type { StepRecord } from '../../src/distill/records';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import { Trainer } from '../../src/distill/trainer';
import type { Gpu } from '../../src/gpu/device';
import { Pool } from '../../src/gpu/program';
import { parseConfig } from '../../src/model/families';
import { relativeError } from '../../src/reference';
import { PACKED_GOLDENS, readPackedGolden } from '../packed-goldens';
import { ADAM, LIVE, readTeacherLogits } from './students';
import { testVariants } from './variants';

const TOLERANCE = {
  f32: { logits: 2e-5, gradient: 1e-4, loss: 1e-5 },
  f16: { logits: 1e-2, gradient: 1e-2, loss: 1e-2 },
};
const LOSS_SCALE = 16384;

describe.each(PACKED_GOLDENS)('%s', (name) => {
  const golden = readPackedGolden(name);
  const { B, T, inputs, targets, starts } = golden;
  const student = parseConfig(golden.config);
  const weights = new Map(
    Object.entries(golden.named('weight')).map(([parameter, { data }]) => [
      parameter,
      data as Float32Array,
    ]),
  );
  // A document ends where the next token's begins, or with its row.
  const end = (n: number) => {
    const row = starts.slice(n - (n % T), n - (n % T) + T);
    const next = row.findIndex((start, t) => t > n % T && start > starts[n]);
    return next < 0 ? T : next;
  };
  const batch = {
    index: 0,
    inputs: Uint32Array.from(inputs),
    targets: Int32Array.from(targets),
    documents: Uint32Array.from(starts.flatMap((start, n) => [start, end(n)])),
  };

  async function step(gpu: Gpu, dtype: 'f16' | 'f32', recompute: boolean) {
    const pool = new Pool(gpu);
    const records: StepRecord[] = [];
    const settings = {
      student,
      dtype,
      batchSize: B,
      contextLength: T,
      masked: true,
      recompute,
      loss: { ...DEFAULTS, loss: 'ce' } as const,
      initialLossScale: LOSS_SCALE,
      adam: ADAM,
    };
    const trainer = await Trainer.create(gpu, pool, settings, weights, undefined, (record) =>
      records.push(record),
    );
    await trainer.step([batch], { step: 1, ...LIVE });
    await trainer.drain();
    const gradients = await trainer.gradients.read();
    trainer.destroy();
    pool.destroy();
    return { loss: records[0].loss, gradients };
  }

  testVariants(
    'a step is transformers’',
    async (gpu, dtype) => {
      const tolerance = TOLERANCE[dtype];
      const kept = await step(gpu, dtype, false);
      const scale = dtype === 'f16' ? LOSS_SCALE : 1;
      expect(relativeError([kept.loss], [golden.loss])).toBeLessThan(tolerance.loss);
      const expected = golden.named('grad');
      expect([...kept.gradients.keys()].sort()).toEqual(Object.keys(expected).sort());
      for (const [parameter, data] of kept.gradients) {
        const error = relativeError(
          data.map((value) => value / scale),
          expected[parameter].data,
        );
        expect(error, parameter).toBeLessThan(tolerance.gradient);
      }
      expect(await step(gpu, dtype, true)).toEqual(kept);
      const teacher = await teacherFromWeights(gpu, weights, student, {
        B,
        T,
        dtype,
        masked: true,
      });
      const logits = await readTeacherLogits(gpu, teacher, batch.inputs, batch.documents);
      await teacher.dispose();
      expect(relativeError(logits, golden.logits)).toBeLessThan(tolerance.logits);
    },
    ['one lane'],
  );
});
