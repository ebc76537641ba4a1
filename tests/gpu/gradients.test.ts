// GPT-2's gradients in the trainer: against the reference, and against finite differences of the
// GPU's own loss. They do not depend on accumulation or on the head's chunks, and a gradient that
// is not finite is never applied.
//
// Tolerances, as relative norms for each parameter: f32 1e-4; f16 1e-2, since each activation is
// rounded by 2^-11 = 5e-4 and a gradient passes some ten of them; sums in another order 1e-5.

import { expect, it } from 'vitest';
import type { Batch } from '../../src/data/batches';
import * as reference from '../../src/reference';
import {
  batchOf,
  formulaLogits,
  joined,
  LIVE,
  referenceWeights,
  startTrainer,
  TINY,
  weightsOf,
} from './students';
import { openVariant, type Storage, testVariants } from './variants';

const [B, T] = [3, 7];
const batch = batchOf(TINY, B, T, 1, 1);
const LIMIT: Record<Storage, number> = { f32: 1e-4, f16: 1e-2 };

function expectedOf(batches: Batch[], loss: 'mixed' | 'ce', config = TINY) {
  return reference.lossAndGradients(
    referenceWeights(config, weightsOf(config)),
    config,
    batches.map(({ inputs, targets }) => ({
      B: inputs.length / T,
      T,
      inputs,
      targets,
      teacherLogits: loss === 'mixed' ? formulaLogits(inputs, TINY.vocab_size) : undefined,
    })),
    { kind: loss, temperature: LIVE.temperature, alpha: LIVE.alpha },
  );
}

/**
 * The parameters whose gradients differ by more than `limit`, with the error. The keys' third of
 * attn.c_attn.bias has a gradient of exactly 0, because softmax ignores a constant added to all
 * scores; there the gradient must be small compared with the others.
 */
function differing(
  actual: ReadonlyMap<string, reference.Numbers>,
  expected: (name: string) => reference.Numbers,
  limit: number,
  dtype: Storage,
) {
  const errors = [...actual].map(([name, data]) => {
    const [got, want] = [Array.from(data), Array.from(expected(name))];
    if (!name.endsWith('attn.c_attn.bias'))
      return { name, error: reference.relativeError(got, want) };
    const third = got.length / 3;
    const others = (values: number[]) => [...values.slice(0, third), ...values.slice(2 * third)];
    const key = reference.norm(got.slice(third, 2 * third)) / reference.norm(want);
    expect(key, `${name}, keys`).toBeLessThan(LIMIT[dtype]);
    return { name, error: reference.relativeError(others(got), others(want)) };
  });
  expect(errors).toHaveLength(actual.has('lm_head.weight') ? 29 : 28);
  return errors.filter(({ error }) => !(error < limit));
}

for (const loss of ['mixed', 'ce'] as const) {
  testVariants(
    `every gradient of ${loss} is the reference’s`,
    async (gpu, dtype) => {
      const run = await startTrainer(gpu, { batchSize: B, contextLength: T, dtype, loss });
      const record = await run.step([batch]);
      const expected = expectedOf([batch], loss);
      expect(
        differing(
          await run.gradients(),
          (name) => expected.gradients[name].data,
          LIMIT[dtype],
          dtype,
        ),
      ).toEqual([]);
      expect(record.tokens).toBe(expected.valid);
      expect(
        reference.relativeError([record.loss, record.ce], [expected.loss, expected.ce]),
      ).toBeLessThan(LIMIT[dtype]);
      if (loss === 'mixed')
        expect(reference.relativeError([record.kd], [expected.kd])).toBeLessThan(LIMIT[dtype]);
      else expect(record.kd).toBeNaN();
      const norm = reference.norm(...Object.values(expected.gradients).map(({ data }) => data));
      expect(reference.relativeError([record.gradNorm], [norm])).toBeLessThan(LIMIT[dtype]);
      await run.end();
    },
    loss === 'mixed' ? ['one lane', 'many lanes'] : ['one lane'],
    ['f32', 'f16'],
    'f16, many lanes',
  );
}

it('gradients are the finite differences of the GPU’s own loss', async () => {
  // The loss is near 5 and good to about 5e-7, so central differences with 1e-2 are good to 3e-5;
  // their third-order error is around 1e-4. Each parameter is moved at the coordinate with its
  // largest gradient, which is 1e-2 to 1.
  const EPSILON = 1e-2;
  const run = await startTrainer(await openVariant('one lane'), { batchSize: B, contextLength: T });
  await run.step([batch], { learningRate: 0 });
  const gradients = await run.gradients();
  const weights = weightsOf(TINY);
  const lossWith = async (name: string, at: number, delta: number) => {
    const moved = weightsOf(TINY);
    (moved.get(name) as Float32Array)[at] += delta;
    run.trainer.master.write(moved);
    return (await run.step([batch], { learningRate: 0 })).loss;
  };
  const wrong = [];
  for (const [name, gradient] of gradients) {
    const at = gradient.reduce(
      (best, g, i) => (Math.abs(g) > Math.abs(gradient[best]) ? i : best),
      0,
    );
    const [above, below] = [await lossWith(name, at, EPSILON), await lossWith(name, at, -EPSILON)];
    const slope = (above - below) / (2 * EPSILON);
    if (!(Math.abs(slope - gradient[at]) < 1e-2 * Math.abs(gradient[at]) + 1e-4))
      wrong.push({ name, at, slope, gradient: gradient[at] });
  }
  expect(wrong).toEqual([]);
  expect(gradients.size).toBe(weights.size);
  await run.end();
});

testVariants(
  'three small batches with unequal numbers of targets add up to one large one',
  async (gpu, dtype) => {
    const batches = [
      batchOf(TINY, 2, T, 2, 0),
      batchOf(TINY, 2, T, 3, 3),
      batchOf(TINY, 2, T, 4, 1),
    ];
    const small = await startTrainer(gpu, { batchSize: 2, contextLength: T, dtype });
    const large = await startTrainer(gpu, { batchSize: 6, contextLength: T, dtype });
    const [accumulated, single] = [await small.step(batches), await large.step([joined(batches)])];
    const [some, all] = [await small.gradients(), await large.gradients()];
    // Rows are independent, so f16 rounds the same numbers in both runs; only sums have another
    // order.
    expect(differing(some, (name) => all.get(name) as Float32Array, 1e-5, dtype)).toEqual([]);
    expect(accumulated.tokens).toBe(single.tokens);
    expect(
      reference.relativeError(
        [accumulated.loss, accumulated.ce, accumulated.kd],
        [single.loss, single.ce, single.kd],
      ),
    ).toBeLessThan(1e-6);
    const expected = expectedOf(batches, 'mixed');
    expect(differing(some, (name) => expected.gradients[name].data, LIMIT[dtype], dtype)).toEqual(
      [],
    );
    await small.end();
    await large.end();
  },
  ['one lane'],
);

testVariants(
  'an untied head has its own gradient',
  async (gpu, dtype) => {
    const untied = { ...TINY, tie_word_embeddings: false };
    const run = await startTrainer(gpu, { batchSize: B, contextLength: T, dtype, student: untied });
    const { loss } = await run.step([batch]);
    const expected = expectedOf([batch], 'mixed', untied);
    expect(expected.gradients['lm_head.weight'].shape).toEqual([TINY.vocab_size, TINY.n_embd]);
    expect(
      differing(
        await run.gradients(),
        (name) => expected.gradients[name].data,
        LIMIT[dtype],
        dtype,
      ),
    ).toEqual([]);
    expect(reference.relativeError([loss], [expected.loss])).toBeLessThan(LIMIT[dtype]);
    await run.end();
  },
  ['one lane'],
);

testVariants(
  'a head in chunks of rows gives the same gradients as the whole head',
  async (gpu, dtype) => {
    const whole = await startTrainer(gpu, { batchSize: B, contextLength: T, dtype });
    const record = await whole.step([batch]);
    const gradients = await whole.gradients();
    // 21 rows, 4 at a time; and 1 at a time if not even one row fits.
    for (const chunkElements of [4 * TINY.vocab_size + 5, 1]) {
      const chunked = await startTrainer(gpu, {
        batchSize: B,
        contextLength: T,
        dtype,
        chunkElements,
      });
      const { loss } = await chunked.step([batch]);
      expect(reference.relativeError([loss], [record.loss])).toBeLessThan(1e-6);
      expect(
        differing(
          await chunked.gradients(),
          (name) => gradients.get(name) as Float32Array,
          1e-5,
          dtype,
        ),
      ).toEqual([]);
      expect(chunked.trainer.dispatches(1)).toBeGreaterThan(whole.trainer.dispatches(1));
      await chunked.end();
    }
    await whole.end();
  },
  ['one lane'],
);

testVariants(
  'a step without a valid target has no loss and changes no parameter',
  async (gpu, dtype) => {
    const run = await startTrainer(gpu, { batchSize: B, contextLength: T, dtype });
    await run.step([batch]);
    const before = await run.trainer.snapshot(1);
    const record = await run.step([batchOf(TINY, B, T, 2, 5)]);
    expect(record).toMatchObject({
      tokens: 0,
      applied: false,
      appliedTotal: 1,
      skippedTotal: 1,
      gradNorm: 0,
    });
    expect([record.loss, record.ce, record.kd]).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    const after = await run.trainer.snapshot(2);
    for (const arena of ['master', 'mean', 'square'] as const) {
      expect(new Uint32Array(after[arena]), arena).toEqual(new Uint32Array(before[arena]));
    }
    expect(await run.step([batch])).toMatchObject({
      applied: true,
      appliedTotal: 2,
      skippedTotal: 1,
      lossScale: record.lossScale,
    });
    await run.end();
  },
  ['one lane'],
);

testVariants(
  'a gradient that overflows f16 is skipped, the scale halves until it fits, and training goes on',
  async (gpu, dtype) => {
    const initialLossScale = 2 ** 24;
    const run = await startTrainer(gpu, {
      batchSize: B,
      contextLength: T,
      dtype,
      initialLossScale,
    });
    const start = await run.trainer.snapshot(0);
    let record = await run.step([batch]);
    expect(record).toMatchObject({
      applied: false,
      lossScale: initialLossScale,
      skippedTotal: 1,
      appliedTotal: 0,
    });
    expect(record.gradNorm, 'the norm of an infinite gradient').toBeNaN();
    expect(record.loss, 'the loss itself is not scaled').toBeCloseTo(
      expectedOf([batch], 'mixed').loss,
      1,
    );
    while (!record.applied && run.records.length < 20) {
      const { master, mean, square } = await run.trainer.snapshot(0);
      for (const [actual, before] of [
        [master, start.master],
        [mean, start.mean],
        [square, start.square],
      ]) {
        expect(new Uint32Array(actual)).toEqual(new Uint32Array(before));
      }
      const { lossScale } = record;
      record = await run.step([batch]);
      expect(record.lossScale).toBe(lossScale / 2);
    }
    expect(record).toMatchObject({
      applied: true,
      appliedTotal: 1,
      skippedTotal: run.records.length - 1,
    });
    const expected = expectedOf([batch], 'mixed');
    expect(
      differing(await run.gradients(), (name) => expected.gradients[name].data, LIMIT.f16, 'f16'),
    ).toEqual([]);
    const after = await run.trainer.snapshot(0);
    expect(new Uint32Array(after.master)).not.toEqual(new Uint32Array(start.master));
    await run.end();
  },
  ['one lane'],
  ['f16'],
);
