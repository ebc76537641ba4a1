// The Llama family's training against transformers' own models: from the same weights, the same
// loss, gradients and ten steps, with activations kept and computed again. Tolerances are those of
// golden-run.test.ts, for its reasons.

import { describe, expect, it } from 'vitest';
import { DEFAULTS } from '../../src/config';
import type { StepRecord } from '../../src/distill/records';
import type { TrainerSettings } from '../../src/distill/settings';
import { Trainer } from '../../src/distill/trainer';
import { countingGpu } from '../../src/gpu/counting';
import type { Gpu } from '../../src/gpu/device';
import { Pool, Recorder } from '../../src/gpu/program';
import { parseConfig } from '../../src/model/families';
import { Arena, planArena, type Role } from '../../src/model/parameters';
import * as reference from '../../src/reference';
import { Layout } from '../../src/tensor/layout';
import { LLAMA_GOLDENS, readLlamaGolden, referenceConfig } from '../llama-goldens';
import { openTestDevice } from './harness';
import { adamOf } from './students';
import { type Lanes, testVariants } from './variants';

const { relativeError } = reference;

const TOLERANCE = {
  f32: { gradient: 1e-4, loss: 1e-5, after: 2e-4 },
  f16: { gradient: 1e-2, loss: 1e-2, after: 1e-1 },
};
const ONE: Lanes[] = ['one lane'];
/** So that gradients before the norms fit f16. */
const LOSS_SCALE = 16384;
/** Beside the sigmoids of dots1. */
const BIAS = 'layers.1.mlp.gate.e_score_correction_bias';
type Golden = ReturnType<typeof readLlamaGolden>;

async function train(
  gpu: Gpu,
  golden: Golden,
  {
    dtype,
    recompute,
    steps,
    padding = 0,
    batches = 1,
    trains,
    routerBiasRate,
    start,
    cut,
  }: {
    dtype: 'f16' | 'f32';
    recompute?: boolean;
    steps: number;
    padding?: number;
    /** Of a step. */
    batches?: number;
    /** What is not frozen. */
    trains?: (role: Role) => boolean;
    routerBiasRate?: number;
    /** Other weights than the golden's, by name. */
    start?: Record<string, Float32Array<ArrayBuffer>>;
    /** Another trainer goes on after so many steps. */
    cut?: number;
  },
) {
  const { B, T, hyper_parameters: hyper } = golden;
  const pool = new Pool(gpu);
  const records: StepRecord[] = [];
  const V = golden.config.vocab_size as number;
  const student = parseConfig({ ...golden.config, vocab_size: V + padding }).withVocabulary(V);
  const weights = new Map(
    Object.entries(golden.named('before')).map(([name, { data, shape }]) => {
      const rows = shape[0] === V ? Array(padding * shape[1]).fill(1) : [];
      return [name, Float32Array.from([...data, ...rows])];
    }),
  );
  for (const [name, values] of Object.entries(start ?? {})) weights.set(name, values);
  const trainerSettings: TrainerSettings = {
    student: { ...student, trains },
    dtype,
    batchSize: B,
    contextLength: T,
    recompute,
    loss: { ...DEFAULTS, loss: 'ce' },
    initialLossScale: LOSS_SCALE,
    routerBiasRate,
    adam: adamOf(hyper),
  };
  const trainerOf = (weights?: Map<string, Float32Array>) =>
    Trainer.create(gpu, pool, trainerSettings, weights, undefined, (record) =>
      records.push(record),
    );
  let trainer = await trainerOf(weights);
  let gradients = new Map<string, Float32Array>();
  for (let step = 0; step < steps; step++) {
    const taken = Array.from({ length: batches }, (_, i) => {
      const index = step * batches + i;
      const { inputs, targets } = golden.batch(index);
      return { index, inputs: Uint32Array.from(inputs), targets: Int32Array.from(targets) };
    });
    const learningRate = golden.steps[step].lr;
    const settings = { step: step + 1, learningRate, temperature: 1, alpha: 0 };
    const routers = golden.routers && { ...golden.routers, kd: 0 };
    await trainer.step(taken, { ...settings, routers });
    if (step === 0) gradients = await trainer.gradients.read();
    if (step + 1 !== cut) continue;
    await trainer.drain();
    const snapshot = await trainer.snapshot(cut);
    trainer.destroy();
    trainer = await trainerOf();
    trainer.restore(snapshot);
  }
  await trainer.drain();
  const after = await trainer.master.read();
  trainer.destroy();
  pool.destroy();
  return { records, gradients, after };
}

function errors(
  actual: ReadonlyMap<string, Float32Array>,
  expected: Readonly<Record<string, { data: reference.Numbers }>>,
  limit: number,
  scale = 1,
) {
  expect([...actual.keys()].sort()).toEqual(Object.keys(expected).sort());
  return [...actual]
    .map(([name, data]) => ({
      name,
      error: relativeError(
        data.map((value) => value / scale),
        expected[name].data,
      ),
    }))
    .filter(({ error }) => !(error < limit));
}

describe.each(LLAMA_GOLDENS)('%s', (name) => {
  const golden = readLlamaGolden(name);

  // A token of olmoe's first batch has two experts whose logits differ by 0.00024, which is less
  // than f16 resolves: there it may choose the other one, and the losses alone are compared.
  testVariants(
    'ten steps are transformers’',
    async (gpu, dtype) => {
      const tolerance = TOLERANCE[dtype];
      const { records, gradients, after } = await train(gpu, golden, { dtype, steps: 10 });
      const scale = dtype === 'f16' ? LOSS_SCALE : 1;
      const choosesAlike = name !== 'olmoe' || dtype === 'f32';
      if (choosesAlike)
        expect(errors(gradients, golden.named('grad'), tolerance.gradient, scale)).toEqual([]);
      for (const [i, { loss, gradNorm, applied, ...record }] of records.entries()) {
        const expected = golden.steps[i];
        expect(applied).toBe(true);
        expect(relativeError([loss], [expected.loss])).toBeLessThan(tolerance.loss);
        expect(relativeError([gradNorm], [expected.grad_norm])).toBeLessThan(10 * tolerance.loss);
        if (!golden.routers) continue;
        const [measured, routers] = [
          [record.routerBalance ?? 0, record.routerZ ?? 0],
          [expected.balance ?? 0, expected.z ?? 0],
        ];
        expect(relativeError(measured, routers)).toBeLessThan(tolerance.loss);
      }
      expect(records).toHaveLength(10);
      if (choosesAlike) expect(errors(after, golden.named('after'), tolerance.after)).toEqual([]);
    },
    ONE,
  );

  if (golden.routers) {
    testVariants(
      'two batches weigh their routers’ losses alike',
      async (gpu) => {
        const { B, T, routers } = golden;
        const config = referenceConfig(golden.config);
        const weights = reference.toParameters(golden.named('before'), config);
        const batches = [0, 1].map((step) => ({ B, T, ...golden.batch(step) }));
        const options = { kind: 'ce', temperature: 1, alpha: 0, routers } as const;
        const expected = reference.lossAndGradients(weights, config, batches, options);
        const { records, gradients } = await train(gpu, golden, {
          dtype: 'f32',
          steps: 1,
          batches: 2,
        });
        const [{ loss, routerBalance = 0, routerZ = 0 }] = records;
        const { balance = 0, z = 0 } = expected.routers ?? {};
        expect(relativeError([loss], [expected.loss])).toBeLessThan(TOLERANCE.f32.loss);
        expect(relativeError([routerBalance, routerZ], [balance, z])).toBeLessThan(
          TOLERANCE.f32.loss,
        );
        expect(errors(gradients, expected.gradients, TOLERANCE.f32.gradient)).toEqual([]);
      },
      ONE,
      ['f32'],
    );

    testVariants(
      'what trains has the same gradient where the rest is frozen',
      async (gpu) => {
        const whole = await train(gpu, golden, { dtype: 'f32', steps: 1 });
        const routers = [...whole.gradients].filter(([name]) => name.endsWith('.mlp.gate.weight'));
        const others = [...whole.gradients].filter(([name]) => !name.endsWith('.mlp.gate.weight'));
        const trains = (only: boolean) => (role: Role) => (role === 'router') === only;
        const frozen = await train(gpu, golden, { dtype: 'f32', steps: 1, trains: trains(false) });
        expect(frozen.gradients).toEqual(new Map(others));
        const alone = await train(gpu, golden, { dtype: 'f32', steps: 1, trains: trains(true) });
        expect(alone.gradients).toEqual(new Map(routers));
      },
      ONE,
      ['f32'],
    );
  }

  if (golden.named('before')[BIAS]) {
    const config = referenceConfig(golden.config);
    const E = config.experts?.E ?? 0;
    const bias = Float32Array.from(golden.named('before')[BIAS].data);
    /** Each expert's choices in a batch, by the slow twin. */
    const loadsOf = (weights: Parameters<typeof reference.llamaForward>[0], index: number) => {
      const { B, T } = golden;
      const { blocks } = reference.llamaForward(weights, config, golden.batch(index).inputs, B, T);
      return reference.expertLoads(reference.routesOf(blocks)[0].chosen, E);
    };

    testVariants(
      'the bias of a choice moves by the loads of a step, and by nothing else',
      async (gpu) => {
        const settings = { dtype: 'f32', steps: 1, batches: 2, routerBiasRate: 0.01 } as const;
        const plain = await train(gpu, golden, { ...settings, routerBiasRate: 0 });
        const { after } = await train(gpu, golden, settings);
        const before = reference.toParameters(golden.named('before'), config);
        const loads = [0, 1].map((index) => loadsOf(before, index));
        const sum = loads[0].map((load, e) => load + loads[1][e]);
        const expected = reference.movedBias(bias, sum, settings.routerBiasRate);
        const moved = after.get(BIAS) as Float32Array;
        expect(relativeError(moved, expected)).toBeLessThan(1e-7);
        expect(plain.after.get(BIAS)).toEqual(bias);
        expect(after).toEqual(new Map([...plain.after, [BIAS, moved]]));
        // Logits overflow, and so does the gradient.
        const gain = golden.named('before')['norm.weight'].data.length;
        const start = { 'norm.weight': new Float32Array(gain).fill(3e38) };
        const rejected = await train(gpu, golden, { ...settings, start });
        expect(rejected.records[0].applied).toBe(false);
        expect(rejected.after.get(BIAS)).toEqual(bias);
      },
      ONE,
      ['f32'],
    );

    testVariants(
      'a collapsed router shares again',
      async (gpu, dtype) => {
        // All tokens choose the first two.
        const start = { [BIAS]: Float32Array.from({ length: E }, (_, e) => Number(e < 2)) };
        const settings = { dtype, steps: 10, start } as const;
        const shareOf = (after: ReadonlyMap<string, Float32Array>) => {
          const weights = Object.fromEntries(
            Object.entries(golden.named('before')).map(([name, { shape }]) => [
              name,
              { shape, data: after.get(name) as Float32Array },
            ]),
          );
          const loads = loadsOf(weights, 0);
          return Math.max(...loads) / loads.reduce((a, b) => a + b);
        };
        const left = await train(gpu, golden, settings);
        expect(shareOf(left.after)).toBe(0.5);
        const balanced = await train(gpu, golden, { ...settings, routerBiasRate: 0.06 });
        expect(shareOf(balanced.after)).toBeLessThan(0.3);
        const resumed = await train(gpu, golden, { ...settings, routerBiasRate: 0.06, cut: 5 });
        expect(resumed.records).toEqual(balanced.records);
        expect(resumed.after).toEqual(balanced.after);
      },
      ONE,
    );
  }

  it('a layer’s forward pass takes nine dispatches, with experts fourteen', async () => {
    const gpu = countingGpu(await openTestDevice());
    const architecture = parseConfig(golden.config);
    const lengths = [[0], [0, 1]].map(async (layers) => {
      const { parameters, withWeights } = architecture.withLayers(layers);
      const arena = new Arena(gpu, planArena(parameters), 'f32', 'weights', 'weights');
      const recorder = new Recorder(gpu, new Pool(gpu));
      const { B, T } = golden;
      const tokens = recorder.tensor('tokens', Layout.contiguous([B, T]), 'u32');
      withWeights(arena).forward(recorder, tokens);
      return (await recorder.build('forward')).length;
    });
    const [one, two] = await Promise.all(lengths);
    const usual = golden.named('grad')['layers.1.mlp.gate.weight'] ? 14 : 9;
    // Where the second layer of smollm3 does not rotate, one less. A perceptron that all tokens
    // share takes three.
    const more = new Map<string, number>([
      ['smollm3', -1],
      ['dots1', 3],
    ]);
    expect(two - one).toBe(usual + (more.get(name) ?? 0));
  });

  testVariants(
    'rows of padding change nothing and get no gradient',
    async (gpu) => {
      const plain = await train(gpu, golden, { dtype: 'f32', steps: 1 });
      const padded = await train(gpu, golden, { dtype: 'f32', steps: 1, padding: 3 });
      // The norm is summed over the arena, in which the other parameters lie elsewhere.
      const gradNorm = expect.closeTo(plain.records[0].gradNorm, 4);
      expect(padded.records).toEqual([{ ...plain.records[0], gradNorm }]);
      for (const [name, values] of plain.gradients) {
        const actual = padded.gradients.get(name) as Float32Array;
        expect(actual.slice(0, values.length), name).toEqual(values);
        expect(new Set(actual.slice(values.length)), name).toEqual(
          new Set(actual.length > values.length ? [0] : []),
        );
      }
    },
    ONE,
    ['f32'],
  );

  testVariants(
    'with activations computed again, the step has the same bits',
    async (gpu) => {
      const [kept, again] = [
        await train(gpu, golden, { dtype: 'f32', steps: 1 }),
        await train(gpu, golden, { dtype: 'f32', steps: 1, recompute: true }),
      ];
      expect(again.records).toEqual(kept.records);
      expect(again.gradients).toEqual(kept.gradients);
    },
    ONE,
    ['f32'],
  );
});
