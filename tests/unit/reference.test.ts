// The reference, operation by operation, against PyTorch's goldens and central finite differences.

import { describe, expect, test } from 'vitest';
import { DIVERGENCE_NAMES } from '../../src/divergences';
import type { LossOptions, Numbers, Strided } from '../../src/reference';
import * as reference from '../../src/reference';
import { fromHalf, roundToHalf } from '../../src/tensor/dtype';
import { Layout } from '../../src/tensor/layout';
import { readGoldenJson, readGoldenTensors } from '../safetensors-fixture';

// Goldens are float64 results stored as float32: each element is off by at most 2^-24 of itself.
// Twice that leaves room for sums in another order.
const STORED_AS_F32 = 2 ** -23;
// Float64 against float64: sums in another order, over a few thousand terms.
const FLOAT64 = 1e-12;
// Central differences at 1e-5: about 1e-10 from the cubic term and 1e-11 from rounding, for values
// around 1.
const DIFFERENCES = 1e-7;

const dot = (a: Numbers, b: Numbers) =>
  Float64Array.from(a, (v, i) => v * b[i]).reduce((sum, v) => sum + v, 0);

/** The layouts in losses.json. */
function viewOf(stored: readonly number[], chain: LossCase['view']): Layout {
  return chain.reduce((layout, [name, ...args]) => {
    if (name === 'slice') return layout.slice(...(args as Parameters<Layout['slice']>));
    if (name === 'transpose') return layout.transpose(...(args as Parameters<Layout['transpose']>));
    if (name === 'permute') return layout.permute(...(args as Parameters<Layout['permute']>));
    throw new Error(`losses.json: a view uses ${name}. Teach viewOf what it means.`);
  }, Layout.contiguous(stored));
}

describe('arrays', () => {
  const a = [1, 2, 3, 4, 5, 6]; // (2, 3)
  const b = [7, 8, 9, 10, 11, 12]; // (3, 2)

  test('a product, a bias and every pair of transposes agree with hand-computed numbers', () => {
    const y = [58, 64, 139, 154];
    expect([...reference.matmul(a, b, 2, 3, 2)]).toEqual(y);
    expect([...reference.matmul(a, b, 2, 3, 2, { bias: [1, -1] })]).toEqual([59, 63, 140, 153]);
    const aT = reference.transpose(a, 2, 3);
    const bT = reference.transpose(b, 3, 2);
    expect([...aT]).toEqual([1, 4, 2, 5, 3, 6]);
    expect([...reference.matmul(aT, b, 2, 3, 2, { transposeA: true })]).toEqual(y);
    expect([...reference.matmul(a, bT, 2, 3, 2, { transposeB: true })]).toEqual(y);
    expect([...reference.matmul(aT, bT, 2, 3, 2, { transposeA: true, transposeB: true })]).toEqual(
      y,
    );
    expect([...reference.columnSum(a, 2, 3)]).toEqual([5, 7, 9]);
    expect([...reference.add(a, b)]).toEqual([8, 10, 12, 14, 16, 18]);
  });

  test('sizes that do not match are refused with both numbers', () => {
    expect(() => reference.matmul(a, b, 2, 4, 2)).toThrow('A has 6 elements, not 8');
    expect(() => reference.relativeError([1], [1, 2])).toThrow('1 elements, not 2');
  });

  test('distances between arrays are relative or absolute, and NaN if there is a NaN', () => {
    expect(reference.relativeError([3, 4.5], [3, 4])).toBeCloseTo(0.1, 15);
    expect(reference.maxAbsError([3, 4.5], [3, 4])).toBe(0.5);
    expect(reference.relativeError([0, 0], [0, 0])).toBe(0);
    expect(reference.relativeError([1], [0])).toBe(Infinity);
    expect(reference.relativeError([Number.NaN], [1])).toBeNaN();
    expect(reference.maxAbsError([0, Number.NaN, 0], [0, 0, 0])).toBeNaN();
  });
});

describe('layers against finite differences', () => {
  test('embedding', () => {
    const [V, P, C, T] = [5, 4, 3, 3];
    const tokens = [1, 4, 1, 0, 1, 2]; // (2, 3), token 1 three times
    const wte = reference.numbers(V * C, 1);
    const wpe = reference.numbers(P * C, 2);
    const dx = reference.numbers(tokens.length * C, 3);
    const f = () => dot(reference.embedding(tokens, wte, wpe, T, C), dx);
    const { dwte, dwpe } = reference.embeddingBackward(tokens, dx, T, C, V, P);
    expect(reference.relativeError(dwte, reference.finiteDifferences(wte, f))).toBeLessThan(
      DIFFERENCES,
    );
    expect(reference.relativeError(dwpe, reference.finiteDifferences(wpe, f))).toBeLessThan(
      DIFFERENCES,
    );
    expect(() => reference.embedding([5], wte, wpe, 1, C)).toThrow(
      'token 5 in row 0 is outside 0..4',
    );
  });

  test('LayerNorm', () => {
    const [N, C] = [4, 6];
    const x = reference.numbers(N * C, 1, 2);
    const gamma = reference.numbers(C, 2);
    const beta = reference.numbers(C, 3);
    const dy = reference.numbers(N * C, 4);
    const f = () => dot(reference.layerNorm(x, gamma, beta).y, dy);
    const { dx, dgamma, dbeta } = reference.layerNormBackward(dy, x, gamma);
    expect(reference.relativeError(dx, reference.finiteDifferences(x, f))).toBeLessThan(
      DIFFERENCES,
    );
    expect(reference.relativeError(dgamma, reference.finiteDifferences(gamma, f))).toBeLessThan(
      DIFFERENCES,
    );
    expect(reference.relativeError(dbeta, reference.finiteDifferences(beta, f))).toBeLessThan(
      DIFFERENCES,
    );
  });

  test('GELU', () => {
    const x = reference.numbers(40, 1, 4);
    const dy = reference.numbers(40, 2);
    const difference = reference.finiteDifferences(x, () => dot(reference.gelu(x), dy));
    expect(reference.relativeError(reference.geluBackward(dy, x), difference)).toBeLessThan(
      DIFFERENCES,
    );
  });

  test('causal attention, which never looks ahead', () => {
    const sizes = { B: 2, T: 5, C: 6, NH: 2 };
    const qkv = reference.numbers(2 * 5 * 18, 1, 2);
    const doutput = reference.numbers(2 * 5 * 6, 2);
    const difference = reference.finiteDifferences(qkv, () =>
      dot(reference.attention(qkv, sizes).output, doutput),
    );
    const dqkv = reference.attentionBackward(doutput, qkv, sizes);
    expect(reference.relativeError(dqkv, difference)).toBeLessThan(DIFFERENCES);

    const before = reference.attention(qkv, sizes);
    const changed = qkv.slice();
    changed.fill(9, 4 * 18, 5 * 18); // the last token of the first sequence
    const after = reference.attention(changed, sizes);
    expect(after.output.slice(0, 4 * 6)).toEqual(before.output.slice(0, 4 * 6));
    expect(after.output.slice(4 * 6, 5 * 6)).not.toEqual(before.output.slice(4 * 6, 5 * 6));
    expect(after.output.slice(5 * 6)).toEqual(before.output.slice(5 * 6));
    // The first token sees only itself: its output is its value, its log-sum-exp its own score.
    expect(reference.relativeError(before.output.slice(0, 6), qkv.slice(12, 18))).toBeLessThan(
      FLOAT64,
    );
    expect(before.lse[0]).toBeCloseTo(dot(qkv.slice(0, 3), qkv.slice(6, 9)) / Math.sqrt(3), 12);
  });
});

const KINDS = ['ce', 'mixed', ...DIVERGENCE_NAMES] as const;

interface LossCase {
  name: string;
  kind: LossOptions['kind'];
  temperature: number;
  beta: number;
  alpha: number;
  label_smoothing: number;
  z_loss: number;
  ignore_index: number;
  B: number;
  T: number;
  stored: number[];
  view: [string, ...unknown[]][];
  loss: number | null;
  valid: number;
}

const optionsOf = (c: LossCase): LossOptions => ({
  kind: c.kind,
  temperature: c.temperature,
  alpha: c.alpha,
  beta: c.beta,
  labelSmoothing: c.label_smoothing,
  zLoss: c.z_loss,
  ignoreIndex: c.ignore_index,
});

describe('losses', () => {
  const cases = readGoldenJson<LossCase[]>('losses.json');
  const tensors = readGoldenTensors('losses.safetensors');

  test('the goldens have every loss, every layout and targets that are all ignored', () => {
    expect(new Set(cases.map((c) => c.kind))).toEqual(new Set(KINDS));
    expect(cases.some((c) => c.valid === 0)).toBe(true);
  });

  test.each(cases)('$name agrees with PyTorch', (c) => {
    const layout = viewOf(c.stored, c.view);
    const student = { data: tensors[`${c.name}.student`].data, layout };
    const teacher = { data: tensors[`${c.name}.teacher`].data, layout };
    const targets = reference.contiguous(tensors[`${c.name}.target`].data, [c.B, c.T]);
    const result = reference.distillationLoss(optionsOf(c), student, teacher, targets);
    expect(result.valid).toBe(c.valid);
    if (c.loss === null) expect(result.loss).toBeNaN();
    else expect(Math.abs(result.loss / c.loss - 1)).toBeLessThan(FLOAT64);
    expect(
      reference.relativeError(result.perToken, tensors[`${c.name}.per_token`].data),
    ).toBeLessThan(STORED_AS_F32);
    expect(reference.relativeError(result.gradient, tensors[`${c.name}.grad`].data)).toBeLessThan(
      STORED_AS_F32,
    );
  });

  const [B, T, V] = [2, 3, 5];
  const z = reference.numbers(B * T * V, 1, 3);
  const student = reference.contiguous(z, [B, T, V]);
  const teacher = reference.contiguous(reference.numbers(B * T * V, 2, 3), [B, T, V]);
  const targets = reference.contiguous([0, 4, -100, 2, 3, 1], [B, T]);
  test.each(KINDS)('%s agrees with finite differences', (kind) => {
    const options = {
      kind,
      temperature: 1.7,
      beta: 0.3,
      alpha: 0.6,
      labelSmoothing: 0.1,
      zLoss: 0.01,
    };
    const run = () => reference.distillationLoss(options, student, teacher, targets);
    const difference = reference.finiteDifferences(z, () => run().loss);
    expect(reference.relativeError(run().gradient, difference)).toBeLessThan(DIFFERENCES);
  });

  test.each(DIVERGENCE_NAMES)('%s of equal models is 0, and so is its gradient', (kind) => {
    const { loss, gradient } = reference.distillationLoss(
      { kind, temperature: 2 },
      student,
      student,
      targets,
    );
    expect(Math.abs(loss)).toBeLessThan(FLOAT64);
    expect(reference.norm(gradient)).toBeLessThan(FLOAT64);
  });

  test.each(KINDS)('%s stays finite where probabilities underflow', (kind) => {
    const spread = (salt: number) =>
      reference.contiguous(reference.numbers(B * T * V, salt, 3000), [B, T, V]);
    const { loss, gradient } = reference.distillationLoss({ kind }, spread(1), spread(2), targets);
    expect(Number.isFinite(loss)).toBe(true);
    expect(gradient.every(Number.isFinite)).toBe(true);
  });

  test('a vocabulary padded with −∞ changes neither the divergence nor its gradient', () => {
    const pad = ({ data }: Strided) => {
      const rows = Array.from({ length: B * T }, (_, n) => [
        ...Array.from(data).slice(n * V, (n + 1) * V),
        -Infinity,
      ]);
      return reference.contiguous(rows.flat(), [B, T, V + 1]);
    };
    for (const kind of KINDS) {
      const plain = reference.distillationLoss({ kind }, student, teacher, targets);
      const padded = reference.distillationLoss({ kind }, pad(student), pad(teacher), targets);
      expect(Math.abs(padded.loss / plain.loss - 1)).toBeLessThan(FLOAT64);
      const inner = padded.gradient.filter((_, i) => i % (V + 1) !== V);
      expect(reference.relativeError(inner, plain.gradient)).toBeLessThan(FLOAT64);
    }
  });

  test('targets are read through their layout, and wrong inputs are refused', () => {
    const shifted: Strided = {
      data: [9, 0, 4, -100, 9, 2, 3, 1],
      layout: { shape: [B, T], strides: [4, 1], offset: 1 },
    };
    const plain = reference.distillationLoss({ kind: 'ce' }, student, undefined, targets);
    const strided = reference.distillationLoss({ kind: 'ce' }, student, undefined, shifted);
    expect(strided.perToken).toEqual(plain.perToken);
    expect(strided.kd).toBeNaN();
    const ce = (logits: Strided, labels: Strided) => () =>
      reference.distillationLoss({ kind: 'ce' }, logits, undefined, labels);
    const outside = { data: z, layout: { ...student.layout, offset: 1 } };
    expect(() => reference.distillationLoss({ kind: 'fkl' }, student, undefined, targets)).toThrow(
      'fkl compares with a teacher, but none is given',
    );
    expect(ce(student, reference.contiguous([0, 1, 2, 3, 4, 5], [B, T]))).toThrow(
      'target 5 at (1, 2) is outside 0..4',
    );
    expect(ce(student, reference.contiguous([0, 1], [B, 1]))).toThrow(
      'targets is (2, 1), not (2, 3)',
    );
    expect(ce(outside, targets)).toThrow('(1, 2, 4) lies outside a storage of 30');
  });

  test('evaluation gives both likelihoods, the true KL and the agreement', () => {
    const rows = reference.evaluateRows(student, teacher, targets);
    const fkl = reference.distillationLoss({ kind: 'fkl' }, student, teacher, targets).perToken;
    const ce = (logits: Strided) =>
      reference.distillationLoss({ kind: 'ce' }, logits, undefined, targets).perToken;
    expect(reference.maxAbsError(rows.studentNll, ce(student))).toBeLessThan(FLOAT64);
    expect(reference.maxAbsError(rows.teacherNll, ce(teacher))).toBeLessThan(FLOAT64);
    expect(reference.maxAbsError(rows.kl, fkl)).toBeLessThan(FLOAT64);
    const small = reference.evaluateRows(
      reference.contiguous([0, 2, 1, /**/ 5, 5, 0, /**/ 1, 0, 0], [1, 3, 3]),
      reference.contiguous([0, 9, 1, /**/ 0, 1, 0, /**/ 3, 2, 1], [1, 3, 3]),
      reference.contiguous([1, 1, -100], [1, 3]),
    );
    expect([...small.agreement]).toEqual([1, 0, 0]);
    expect(small.valid).toBe(2);
  });
});

describe('float16', () => {
  test('rounds as the engine does: ties, subnormals and infinity included', () => {
    const halves = fromHalf(Uint16Array.from({ length: 0x7c00 }, (_, bits) => bits));
    for (const [i, value] of halves.entries()) {
      const next = halves[i + 1] ?? 65536;
      for (const x of [value, value + (next - value) / 4, (value + next) / 2, -value]) {
        if (reference.roundToHalf(x) !== roundToHalf(x))
          throw new Error(`${x}: ${reference.roundToHalf(x)}, not ${roundToHalf(x)}`);
      }
    }
    expect(reference.roundToHalf(Number.NEGATIVE_INFINITY)).toBe(Number.NEGATIVE_INFINITY);
  });

  test('has the bits that the format says, for every number', () => {
    const bits = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
    const finite = bits.filter((half) => (half & 0x7fff) <= 0x7c00); // the others are NaN
    expect(Uint16Array.from(fromHalf(finite), reference.halfBits)).toEqual(finite);
  });
});

describe('optimiser', () => {
  test('AdamW first moves by the learning rate, whatever the gradient, plus the decay', () => {
    const parameter = Float64Array.of(1, 1);
    const m = new Float64Array(2);
    const v = new Float64Array(2);
    const options = { learningRate: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 0, weightDecay: 0.5 };
    reference.adamW(parameter, [1e-3, -40], m, v, 1, options);
    expect(reference.maxAbsError(parameter, [1 - 0.1 - 0.05, 1 + 0.1 - 0.05])).toBeLessThan(
      FLOAT64,
    );
    reference.adamW(parameter, [0, 0], m, v, 2, { ...options, weightDecay: 0 });
    // m̂ = 0.09 g / 0.19 and v̂ = 0.0475 g² / 0.0975
    const second = (0.1 * (0.09 / 0.19)) / Math.sqrt(0.0475 / 0.0975);
    expect(reference.maxAbsError(parameter, [0.85 - second, 1.05 + second])).toBeLessThan(FLOAT64);
  });

  test('clipping scales all gradients by one factor, and 0 never clips', () => {
    const gradients = [Float64Array.of(3), Float64Array.of(4)];
    expect(reference.clipGradients(gradients, 0)).toBe(5);
    expect(reference.clipGradients(gradients, 6)).toBe(5);
    expect(gradients).toEqual([Float64Array.of(3), Float64Array.of(4)]);
    expect(reference.clipGradients(gradients, 1)).toBe(5);
    expect(
      reference.maxAbsError([gradients[0][0], gradients[1][0]], [3 / 5.000001, 4 / 5.000001]),
    ).toBeLessThan(FLOAT64);
  });

  test('the scale doubles after 2000 good steps and halves on a bad one, down to 1', () => {
    const { initial, interval } = reference.SCALER;
    let scaler: reference.Scaler = { scale: initial, goodSteps: 0 };
    for (let i = 1; i < interval; i++) scaler = reference.updateScaler(scaler, true);
    expect(scaler).toEqual({ scale: 65536, goodSteps: 1999 });
    expect(reference.updateScaler(scaler, false)).toEqual({ scale: 32768, goodSteps: 0 });
    expect(reference.updateScaler(scaler, true)).toEqual({ scale: 131072, goodSteps: 0 });
    expect(reference.updateScaler({ scale: 1, goodSteps: 5 }, false)).toEqual({
      scale: 1,
      goodSteps: 0,
    });
    expect(reference.updateScaler({ scale: 2 ** 127, goodSteps: 1999 }, true)).toEqual({
      scale: 2 ** 127,
      goodSteps: 0,
    });
  });

  test('schedules rise during the warm-up, then stay, or fall to 0 at the last step', () => {
    const at = (kind: reference.Schedule['kind'], steps: number[], warmup = 4) =>
      steps.map((step) => reference.learningRateAt(step, { kind, peak: 2, warmup, steps: 12 }));
    for (const kind of ['constant', 'linear', 'cosine'] as const)
      expect(at(kind, [1, 2, 4])).toEqual([0.5, 1, 2]);
    expect(at('constant', [5, 12])).toEqual([2, 2]);
    expect(at('linear', [6, 8, 12, 13])).toEqual([1.5, 1, 0, 0]);
    expect(reference.maxAbsError(at('cosine', [6, 8, 12]), [1 + Math.SQRT1_2, 1, 0])).toBeLessThan(
      FLOAT64,
    );
    expect(at('linear', [3, 12], 0)).toEqual([1.5, 0]);
  });
});
