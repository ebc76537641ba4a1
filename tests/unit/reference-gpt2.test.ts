// The reference as a whole: GPT-2 and ten steps of its distillation against PyTorch, and against
// finite differences.

import { describe, expect, test } from 'vitest';
import * as reference from '../../src/reference';
import { readGoldenJson, readGoldenTensors } from '../safetensors-fixture';

// Goldens are float64 results stored as float32: each element is off by at most 2^-24 of itself.
// Twice that leaves room for sums in another order.
const STORED_AS_F32 = 2 ** -23;
// Float64 against float64 over ten steps, each built on the last.
const FLOAT64_RUN = 1e-10;
// Central differences at 1e-5: about 1e-10 from the cubic term and 1e-11 from rounding, for values
// around 1.
const DIFFERENCES = 1e-7;

describe('GPT-2', () => {
  type HyperParameter =
    | 'batch'
    | 'context'
    | 'temperature'
    | 'alpha'
    | 'lr'
    | 'warmup'
    | 'beta1'
    | 'beta2'
    | 'eps'
    | 'weight_decay'
    | 'clip';
  interface Run {
    student: reference.GPT2Config;
    teacher: reference.GPT2Config;
    hyper_parameters: Record<HyperParameter, number>;
    steps: { loss: number; ce: number; kd: number; grad_norm: number; lr: number }[];
  }

  test('ten steps agree with PyTorch: logits, gradients, losses, parameters', () => {
    const run = readGoldenJson<Run>('gpt2_run.json');
    const golden = readGoldenTensors('gpt2_run.safetensors');
    const { batch: B, context: T, temperature, alpha, ...h } = run.hyper_parameters;
    const teacher = reference.toParameters(
      readGoldenTensors('gpt2_teacher.safetensors'),
      run.teacher,
    );
    const state = reference.startDistilling(
      reference.toParameters(readGoldenTensors('gpt2_student.safetensors'), run.student),
    );
    expect(run.steps).toHaveLength(10);
    for (const [index, expected] of run.steps.entries()) {
      const rows = Array.from({ length: B }, (_, b) => {
        const start = (index * B + b) * (T + 1);
        return [...golden.tokens.data.slice(start, start + T + 1)];
      });
      const inputs = rows.flatMap((row) => row.slice(0, -1));
      const targets = rows.flatMap((row) => row.slice(1));
      const teacherLogits = reference.gpt2Forward(teacher, run.teacher, inputs, B, T).logits;
      if (index === 0) {
        const { logits } = reference.gpt2Forward(state.parameters, run.student, inputs, B, T);
        expect(reference.relativeError(logits, golden['student.logits'].data)).toBeLessThan(
          STORED_AS_F32,
        );
        expect(reference.relativeError(teacherLogits, golden['teacher.logits'].data)).toBeLessThan(
          STORED_AS_F32,
        );
      }
      const learningRate = reference.learningRateAt(index + 1, {
        kind: 'constant',
        peak: h.lr,
        warmup: h.warmup,
        steps: 10,
      });
      const step = reference.distilStep(
        state,
        run.student,
        [{ B, T, inputs, targets, teacherLogits }],
        { kind: 'mixed', temperature, alpha },
        {
          learningRate,
          beta1: h.beta1,
          beta2: h.beta2,
          epsilon: h.eps,
          weightDecay: h.weight_decay,
          maxGradNorm: h.clip,
        },
      );
      expect(step.applied).toBe(true);
      if (index === 0) {
        for (const [name, { data }] of Object.entries(step.gradients)) {
          expect(reference.relativeError(data, golden[`grad.${name}`].data), name).toBeLessThan(
            STORED_AS_F32,
          );
        }
      }
      const actual = [step.loss, step.ce, step.kd, step.gradNorm, learningRate];
      const { loss, ce, kd, grad_norm, lr } = expected;
      for (const [i, value] of [loss, ce, kd, grad_norm, lr].entries()) {
        expect(Math.abs(actual[i] / value - 1), `step ${index}, figure ${i}`).toBeLessThan(
          FLOAT64_RUN,
        );
      }
    }
    for (const [name, { data }] of Object.entries(state.parameters)) {
      expect(reference.relativeError(data, golden[`after.${name}`].data), name).toBeLessThan(
        STORED_AS_F32,
      );
    }
  });

  const config = {
    vocab_size: 7,
    n_positions: 5,
    n_embd: 4,
    n_layer: 2,
    n_head: 2,
    layer_norm_epsilon: 1e-5,
  };
  const tiny = () =>
    Object.fromEntries(
      Object.entries(reference.parameterShapes(config)).map(([name, shape], salt) => [
        name,
        {
          shape,
          data: reference.numbers(
            shape.reduce((a, b) => a * b, 1),
            salt,
            0.6,
          ),
        },
      ]),
    );
  const [B, T] = [2, 3];
  const batch = {
    B,
    T,
    inputs: [1, 6, 1, 0, 3, 3],
    targets: [6, 1, -100, 3, 3, 2],
    teacherLogits: reference.numbers(B * T * 7, 99, 2),
  };
  const loss = { kind: 'mixed', temperature: 2, alpha: 0.7 } as const;
  const optimiser = {
    learningRate: 0.01,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weightDecay: 0.1,
    maxGradNorm: 1,
  };

  test('every gradient of a tiny model agrees with finite differences', () => {
    const parameters = tiny();
    const run = () => reference.lossAndGradients(parameters, config, [batch], loss);
    const { gradients } = run();
    expect(Object.keys(gradients)).toHaveLength(28);
    const exact = Object.values(gradients).flatMap(({ data }) => [...data]);
    const differences = Object.values(parameters).flatMap(({ data }) => [
      ...reference.finiteDifferences(data, () => run().loss),
    ]);
    expect(reference.relativeError(exact, differences)).toBeLessThan(DIFFERENCES);
    // Each parameter in absolute terms, because the bias of the keys has a gradient of 0.
    let at = 0;
    for (const [name, { data }] of Object.entries(gradients)) {
      expect(
        reference.maxAbsError(data, differences.slice(at, at + data.length)),
        name,
      ).toBeLessThan(1e-8);
      at += data.length;
    }
  });

  test('two accumulated batches give the step of one batch twice as large', () => {
    const half = (b: number) => ({
      B: 1,
      T,
      inputs: batch.inputs.slice(b * T, (b + 1) * T),
      targets: batch.targets.slice(b * T, (b + 1) * T),
      teacherLogits: batch.teacherLogits.slice(b * T * 7, (b + 1) * T * 7),
    });
    const whole = reference.distilStep(
      reference.startDistilling(tiny()),
      config,
      [batch],
      loss,
      optimiser,
    );
    const halves = reference.distilStep(
      reference.startDistilling(tiny()),
      config,
      [half(0), half(1)],
      loss,
      optimiser,
    );
    for (const figure of ['loss', 'ce', 'kd', 'gradNorm', 'valid'] as const)
      expect(halves[figure]).toBeCloseTo(whole[figure], 12);
  });

  test('a step that is not finite, or has no valid target, changes nothing', () => {
    const before = reference.startDistilling(tiny());
    const broken = { ...batch, teacherLogits: batch.teacherLogits.with(3, Number.NaN) };
    const ignored = { ...batch, targets: batch.targets.map(() => -100) };
    for (const bad of [broken, ignored]) {
      const state = reference.startDistilling(tiny());
      const result = reference.distilStep(state, config, [bad], loss, optimiser);
      expect(result.applied).toBe(false);
      expect(result.loss).toBeNaN();
      expect(state).toEqual(before);
    }
    const state = reference.startDistilling(tiny());
    expect(reference.distilStep(state, config, [batch], loss, optimiser).applied).toBe(true);
    expect(state).not.toEqual(before);
  });

  test('weights of another shape are refused by name', () => {
    const weights = { ...tiny(), 'wpe.weight': { shape: [4, 4], data: new Float64Array(16) } };
    expect(() => reference.toParameters(weights, config)).toThrow(
      'wpe.weight is (4, 4), not (5, 4)',
    );
  });
});
