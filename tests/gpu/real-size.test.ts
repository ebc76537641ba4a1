// Means that only large models need, tested on a small one: weights in several buffers, embeddings
// that exceed a binding, activations that are computed again. None changes the results.

import { describe, expect, it } from 'vitest';
import { type Config, DEFAULTS } from '../../src/config';
import { Evaluator } from '../../src/distill/evaluate';
import { planMemory } from '../../src/distill/run-models';
import { Sampler } from '../../src/distill/sample';
import { teacherFromWeights } from '../../src/distill/teacher/engine';
import type { MakeTeacher } from '../../src/distill/teacher/teacher';
import { type Gpu, GpuError } from '../../src/gpu/device';
import { Pool } from '../../src/gpu/program';
import type { Gpt2Config } from '../../src/model/gpt2/config';
import { gpt2 } from '../../src/model/gpt2/gpt2';
import { Arena, planArena } from '../../src/model/parameters';
import * as reference from '../../src/reference';
import { openTestDevice } from './harness';
import { batchOf, startTrainer, TINY, weightsOf } from './students';
import { download, testVariants } from './variants';

/** A vocabulary that is large for the width, as real ones are. */
const LARGE_VOCABULARY: Gpt2Config = { ...TINY, vocab_size: 300 };
const [B, T] = [2, 4];
/**
 * The embeddings take 19,200 bytes in f32: five bindings, and a buffer of their own. Every other
 * matrix fits.
 */
const SMALL = { binding: 4096, buffer: 19_456 };

async function withLimits<R>(gpu: Gpu, limits: Gpu['limits'], body: () => Promise<R>): Promise<R> {
  const { limits: actual } = gpu;
  gpu.limits = limits;
  try {
    return await body();
  } finally {
    gpu.limits = actual;
  }
}

async function train(gpu: Gpu, dtype: 'f16' | 'f32', recompute = false) {
  const student = LARGE_VOCABULARY;
  const before = gpu.memory.totals().activations ?? 0;
  // A loss without a teacher: the formula teacher of other tests has all its logits in one buffer.
  const run = await startTrainer(gpu, {
    batchSize: B,
    contextLength: T,
    student,
    dtype,
    recompute,
    loss: 'ce',
  });
  const activations = (gpu.memory.totals().activations ?? 0) - before;
  for (let step = 1; step <= 3; step++) await run.step([batchOf(student, B, T, step, 1)]);
  const result = {
    activations,
    buffers: run.trainer.master.buffers.length,
    dispatches: run.trainer.dispatches(1),
    records: run.records,
    weights: await run.trainer.master.read(),
  };
  await run.end();
  return result;
}

/**
 * Leaves out attn.c_attn.bias: the exact gradient of its key third is 0, and AdamW amplifies the
 * rounding.
 */
function largestDifference(
  a: ReadonlyMap<string, Float32Array>,
  b: ReadonlyMap<string, Float32Array>,
): number {
  const compared = [...a].filter(([name]) => !name.endsWith('attn.c_attn.bias'));
  return Math.max(
    ...compared.map(([name, data]) => reference.relativeError(data, b.get(name) as Float32Array)),
  );
}

testVariants(
  'a student in several buffers, its embeddings in runs, trains as it does in one buffer',
  async (gpu, dtype) => {
    const one = await train(gpu, dtype);
    const several = await withLimits(gpu, SMALL, () => train(gpu, dtype));
    expect(one.buffers).toBe(1);
    expect(several.buffers).toBeGreaterThan(2);
    expect(several.dispatches).toBeGreaterThan(one.dispatches);
    // The head's products are summed run by run: in f32 that changes the last bits, in f16 each
    // run's sum is stored in between.
    const limit = dtype === 'f32' ? 1e-5 : 1e-2;
    expect(largestDifference(several.weights, one.weights)).toBeLessThan(limit);
    for (const [i, { loss, gradNorm }] of several.records.entries()) {
      expect(
        reference.relativeError([loss, gradNorm], [one.records[i].loss, one.records[i].gradNorm]),
      ).toBeLessThan(limit);
    }
  },
  ['one lane'],
);

testVariants(
  'teacher, evaluation and sampling give the same from several buffers',
  async (gpu, dtype) => {
    const measure = async () => {
      const pool = new Pool(gpu);
      const weights = new Arena(
        gpu,
        planArena(gpt2(LARGE_VOCABULARY).parameters, gpu.limits.buffer),
        dtype,
        'weights',
        'student',
      );
      weights.write(weightsOf(LARGE_VOCABULARY));
      const model = gpt2(LARGE_VOCABULARY).withWeights(weights);
      const teacher = await teacherFromWeights(
        gpu,
        weightsOf(LARGE_VOCABULARY, 2),
        gpt2(LARGE_VOCABULARY),
        {
          B,
          T,
          dtype,
        },
      );
      const evaluator = new Evaluator(gpu, pool, model, teacher, [B, T], 'strided');
      const record = await evaluator.run([batchOf(LARGE_VOCABULARY, B, T, 1)], 0);
      const sampler = Sampler.create(gpu, pool, model, T);
      const tokens = await sampler.generate(
        Uint32Array.of(3, 299, 150),
        Float32Array.of(0.3, 0.6, 0.9),
      );
      const next = [...tokens, ...(await download(gpu, sampler.logits))];
      for (const resource of [sampler, evaluator, weights, pool]) resource.destroy();
      await teacher.dispose();
      const { studentPerplexity, teacherPerplexity, kl, failed, firstError } = record;
      expect(firstError).toBeUndefined();
      expect(failed).toBe(0);
      return { figures: [studentPerplexity, teacherPerplexity, kl] as number[], next };
    };
    const [one, several] = [await measure(), await withLimits(gpu, SMALL, measure)];
    // A token's logit is one sum in both cases.
    expect(reference.relativeError(several.figures, one.figures)).toBeLessThan(1e-6);
    expect(several.next).toEqual(one.next);
  },
  ['one lane'],
);

testVariants(
  'activations that are computed again give the same bits, in less memory',
  async (gpu, dtype) => {
    const [stored, again] = [await train(gpu, dtype), await train(gpu, dtype, true)];
    expect(largestDifference(again.weights, stored.weights)).toBe(0);
    expect(again.records).toEqual(stored.records);
    expect(again.activations).toBeLessThan(stored.activations);
    expect(again.dispatches).toBeGreaterThan(stored.dispatches);
  },
  ['one lane'],
);

/** microsoft/DialoGPT-medium and distilgpt2. */
const MEDIUM_CONFIG: Gpt2Config = {
  ...TINY,
  vocab_size: 50257,
  n_positions: 1024,
  n_embd: 1024,
  n_layer: 24,
  n_head: 16,
};
const MEDIUM = gpt2(MEDIUM_CONFIG);
const DISTIL = gpt2({ ...MEDIUM_CONFIG, n_embd: 768, n_layer: 6, n_head: 12 });

describe.each([
  // WebGPU's guaranteed limits, and a desktop GPU's.
  { binding: 2 ** 27, buffer: 2 ** 28 },
  { binding: 2 ** 31 - 4, buffer: 2 ** 31 },
])(
  'DialoGPT-medium and distilgpt2 in f16, four sequences of 128 tokens, bindings of $binding bytes',
  (limits) => {
    const plan = async (changes: Partial<Config>, makeTeacher: MakeTeacher) => {
      const gpu = await openTestDevice();
      const config: Config = { ...DEFAULTS, batch_size: 4, max_length: 128, ...changes };
      const totals = await withLimits(gpu, limits, () =>
        planMemory({ gpu, config, dtype: 'f16', student: DISTIL, makeTeacher }),
      );
      return Object.values(totals).reduce((a, b) => a + b);
    };
    const engine: MakeTeacher = (gpu, shape) => teacherFromWeights(gpu, undefined, MEDIUM, shape);

    it('fits into 2.6 GB', async () => {
      const bytes = await plan({}, engine);
      expect(bytes).toBeLessThan(2.6e9);
      // Weights alone: the teacher's in f16; the student's in f32 and f16, with gradients and two
      // moments.
      expect(bytes).toBeGreaterThan(354.8e6 * 2 + 81.9e6 * (4 + 2 + 4 + 8));
    });

    it.each([
      ['64 tokens', {}],
      ['all tokens', { cache_top_k: 0 }],
    ] as [string, Partial<Config>][])(
      'fits into 1.9 GB with a cached teacher, %s at each position',
      async (_, changes) => {
        // A plan that made a teacher would fail.
        const none = () => Promise.reject(new Error('The teacher is cached.'));
        const bytes = await plan({ teacher_cache: 'on', ...changes }, none);
        expect(bytes).toBeLessThan(1.9e9);
        expect(bytes).toBeGreaterThan(81.9e6 * (4 + 2 + 4 + 8));
      },
    );

    it('takes less when activations are computed again', async () => {
      expect(await plan({ gradient_checkpointing: 'on' }, engine)).toBeLessThan(
        await plan({}, engine),
      );
    });
  },
);

it('a matrix that exceeds a binding is refused by name, with both sizes', async () => {
  const gpu = await openTestDevice();
  const make = () =>
    new Arena(gpu, planArena(gpt2(LARGE_VOCABULARY).parameters), 'f32', 'weights', 'weights');
  await withLimits(gpu, { ...SMALL, binding: 4092 }, async () => {
    expect(make).toThrow(GpuError);
    expect(make).toThrow(
      /The model's weights need one buffer of .* MiB; this adapter allows .* MiB/,
    );
  });
  await withLimits(gpu, { ...gpu.limits, binding: 4092 }, async () => {
    expect(make).toThrow(
      /h\.0\.mlp\.c_fc\.weight needs one binding of .* MiB; this adapter allows .* MiB/,
    );
  });
});
