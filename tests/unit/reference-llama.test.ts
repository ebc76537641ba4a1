// The reference's Llama family: ten steps of training against transformers' own models, and its
// layers against finite differences.

import { describe, expect, test } from 'vitest';
import * as reference from '../../src/reference';
import { LLAMA_GOLDENS, readLlamaGolden, referenceConfig } from '../llama-goldens';

const { numbers } = reference;

// transformers computes angles, cosines and sines of positions in float32 even in a float64 model:
// each is off by up to 2^-24 of itself, and an angle of 17 by 1e-6.
const LIMIT = 5e-6;
// Ten steps of Adam divide small gradients by their own size.
const AFTER = 5e-5;

describe.each(LLAMA_GOLDENS)('%s', (name) => {
  test('ten steps agree with PyTorch: logits, gradients, losses, parameters', () => {
    const { B, T, ...golden } = readLlamaGolden(name);
    const config = referenceConfig(golden.config);
    const { hyper_parameters: hyper, steps } = golden;
    const state = reference.startDistilling(reference.toParameters(golden.named('before'), config));
    expect(steps).toHaveLength(10);
    for (const [index, expected] of steps.entries()) {
      const { inputs, targets } = golden.batch(index);
      if (index === 0) {
        const { logits } = reference.runModel(state.parameters, config, inputs, B, T);
        expect(reference.relativeError(logits, golden.logits)).toBeLessThan(LIMIT);
      }
      const step = reference.distilStep(
        state,
        config,
        [{ B, T, inputs, targets }],
        { kind: 'ce', temperature: 1, alpha: 0, routers: golden.routers },
        {
          learningRate: expected.lr,
          beta1: hyper.beta1,
          beta2: hyper.beta2,
          epsilon: hyper.eps,
          weightDecay: hyper.weight_decay,
          maxGradNorm: hyper.clip,
        },
      );
      expect(Math.abs(step.loss / expected.loss - 1)).toBeLessThan(LIMIT);
      expect(Math.abs(step.gradNorm / expected.grad_norm - 1)).toBeLessThan(LIMIT);
      if (golden.routers) {
        const { balance = 0, z = 0 } = expected;
        expect(reference.relativeError([step.routers?.balance ?? 0], [balance])).toBeLessThan(
          LIMIT,
        );
        expect(reference.relativeError([step.routers?.z ?? 0], [z])).toBeLessThan(LIMIT);
      }
      if (index > 0) continue;
      for (const [parameter, { data }] of Object.entries(golden.named('grad')))
        expect(
          reference.relativeError(step.gradients[parameter].data, data),
          parameter,
        ).toBeLessThan(LIMIT);
    }
    const after = Object.entries(golden.named('after'));
    expect(after.map(([parameter]) => parameter).sort()).toEqual(
      Object.keys(state.parameters).sort(),
    );
    for (const [parameter, { data }] of after)
      expect(
        reference.relativeError(state.parameters[parameter].data, data),
        parameter,
      ).toBeLessThan(AFTER);
  });
});

test('every gradient of a tiny model agrees with finite differences', () => {
  const config: reference.LlamaConfig = {
    vocab_size: 5,
    hidden_size: 4,
    intermediate_size: 3,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 2,
    rms_norm_eps: 1e-5,
    rope_theta: 100,
    rope_scaling: { type: 'linear', factor: 2 },
    tie_word_embeddings: true,
    attention_biases: 'all',
    head_norm: 'all',
    windows: [0, 2],
    rotated: [true, false],
    experts: { E: 3, k: 2, F: 1, normalised: true, layers: [false, true] },
  };
  const [B, T] = [1, 5];
  const parameters = Object.fromEntries(
    Object.entries(reference.llamaShapes(config)).map(([name, shape], salt) => [
      name,
      {
        shape,
        data: numbers(
          shape.reduce((a, b) => a * b, 1),
          salt,
          0.6,
        ),
      },
    ]),
  );
  const batches = [
    { B, T, inputs: [1, 4, 1, 0, 3], targets: [4, 1, -100, 3, 2] },
    { B, T: 2, inputs: [0, 2], targets: [2, 3] },
  ];
  const run = () =>
    reference.lossAndGradients(parameters, config, batches, {
      kind: 'ce',
      temperature: 1,
      alpha: 0,
      routers: { balance: 0.7, z: 0.3 },
    });
  const { gradients } = run();
  for (const [name, { data }] of Object.entries(parameters)) {
    const differences = reference.finiteDifferences(data, () => run().loss);
    // Absolute, because the bias of keys that are not normed has a gradient of 0.
    expect(reference.maxAbsError(gradients[name].data, differences), name).toBeLessThan(1e-8);
  }
});

test.each([true, false])('a route’s gradient agrees with finite differences (%s)', (normalised) => {
  const sizes = { E: 5, k: 3, normalised };
  const logits = numbers(4 * sizes.E, 1, 2);
  const dweights = numbers(4 * sizes.k, 2);
  const chosen = reference.route(logits, sizes);
  const sum = () =>
    reference.route(logits, sizes).weights.reduce((total, w, i) => total + w * dweights[i], 0);
  const dlogits = reference.routeBackward(dweights, chosen, sizes);
  const differences = reference.finiteDifferences(logits, sum);
  expect(reference.maxAbsError(dlogits, differences)).toBeLessThan(1e-8);
});

test('the gradient of the routers’ losses agrees with finite differences', () => {
  const sizes = { E: 4, k: 2, normalised: true };
  const weights = { balance: 0.7, z: 0.3, kd: 0.5 };
  const layers = [1, 2].map((salt) => {
    const logits = numbers(3 * sizes.E, salt, 2);
    const { chosen } = reference.route(logits, sizes);
    return { logits, chosen, teacher: numbers(3 * sizes.E, salt + 2, 2) };
  });
  const total = () => {
    const { balance, z, kd } = reference.routerLosses(layers, sizes);
    return weights.balance * balance + weights.z * z + weights.kd * kd;
  };
  for (const [i, dlogits] of reference.routerLossesBackward(layers, sizes, weights).entries()) {
    const differences = reference.finiteDifferences(layers[i].logits, total);
    expect(reference.maxAbsError(dlogits, differences)).toBeLessThan(1e-8);
  }
  const same = layers.map(({ logits, chosen }) => ({ logits, chosen, teacher: logits }));
  expect(reference.routerLosses(same, sizes).kd).toBeCloseTo(0, 12);
});

test('of equally probable experts the lower are chosen', () => {
  const { chosen, weights } = reference.route([1, 2, 2, 2], { E: 4, k: 2, normalised: true });
  expect([...chosen]).toEqual([1, 2]);
  expect([...weights]).toEqual([0.5, 0.5]);
});

describe('rotary frequencies', () => {
  test('fall from 1 by equal factors, and linear scaling divides them', () => {
    expect([...reference.rotaryFrequencies(8, 10000)]).toEqual(
      [1, 0.1, 0.01, 0.001].map((x) => expect.closeTo(x, 12)),
    );
    const scaling = { type: 'linear', factor: 4 } as const;
    expect([...reference.rotaryFrequencies(4, 100, scaling)]).toEqual([
      0.25,
      expect.closeTo(0.025, 12),
    ]);
  });

  test('llama3 leaves fast pairs, divides slow ones and blends between', () => {
    const scaling = {
      type: 'llama3',
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    } as const;
    const [plain, scaled] = [undefined, scaling].map((s) =>
      reference.rotaryFrequencies(64, 500000, s),
    );
    const ratios = [...plain].map((frequency, i) => frequency / scaled[i]);
    // Pair 14 turns 4.2 times in 8,192 positions, pair 15 2.8 times, pair 18 0.8 times.
    expect(ratios.slice(0, 15)).toEqual(Array(15).fill(1));
    expect(ratios.slice(18)).toEqual(Array(14).fill(expect.closeTo(8, 12)));
    for (const ratio of ratios.slice(15, 18)) {
      expect(ratio).toBeGreaterThan(1);
      expect(ratio).toBeLessThan(8);
    }
  });
});
