// What losses do where others have gone wrong: probabilities that underflow, words ruled out, huge
// logits, real vocabularies, no valid target, a teacher that equals its student, and gradients too
// small for f16.
//
// Tolerances as for the goldens, 2e-5 relative plus 2e-6 a token and 1e-4 of the gradient's norm,
// unless a test says otherwise.

import { describe, expect, it } from 'vitest';
import { DIVERGENCE_NAMES } from '../../src/divergences';
import type { Gpu } from '../../src/gpu/device';
import { compare } from '../../src/kernels/losses';
import * as reference from '../../src/reference';
import { roundToHalf } from '../../src/tensor/dtype';
import { Layout } from '../../src/tensor/layout';
import { Random } from '../../src/tensor/random';
import { IGNORED, LOSS_NAMES, type LossRun, lossTruth, prepareLoss, type View } from './loss-runs';
import {
  download,
  execute,
  openVariant,
  type Storage,
  stored,
  testVariants,
  upload,
  zeros,
} from './variants';

const { numbers } = reference;

const view = (data: reference.Numbers, ...shape: number[]): View => ({
  data: Float64Array.from(data),
  layout: Layout.contiguous(shape),
});
/** Logits around 0 for `rows` tokens. */
const logits = (rows: number, V: number, salt: number, dtype: Storage = 'f32', size = 4) =>
  view(stored(numbers(rows * V, salt, size), dtype), rows, 1, V);
const targetsOf = (rows: number, V: number) =>
  view(
    Array.from({ length: rows }, (_, row) => [V - 1, 0, V >> 1][row % 3]),
    rows,
    1,
  );
const finite = (values: ArrayLike<number>) => Array.from(values).every(Number.isFinite);

async function answer(gpu: Gpu, run: LossRun) {
  const prepared = prepareLoss(gpu, run);
  await execute(gpu, (recorder) => prepared.record(recorder));
  return prepared.read();
}

async function expectTruth(gpu: Gpu, run: LossRun, truth = () => lossTruth(run)) {
  const what = run.loss;
  const [actual, expected] = [await answer(gpu, run), truth()];
  for (const name of ['ce', 'kd'] as const) {
    for (const [i, want] of expected[name].entries()) {
      const got = actual[name][i];
      const tolerance = 2e-5 * Math.abs(want) + 2e-6;
      expect(
        Math.abs(got - want),
        `${what}, ${name} ${i}: ${got}, want ${want}`,
      ).toBeLessThanOrEqual(tolerance);
    }
  }
  const error = reference.relativeError(actual.gradient, expected.gradient);
  expect(error, `${what}, gradient`).toBeLessThanOrEqual(1e-4);
  return actual;
}

describe('probabilities that underflow', () => {
  // Next to a logit of 150 the others have ln p below −104, where exp gives 0 in f32: both are
  // sure, of different words; the same with a close second; and a teacher that is sure where the
  // student is not.
  const student = view([150, 0, -20, 1, 149, 148, 0, 0, 1, 0, -1, 2], 3, 1, 4);
  const teacher = view([0, 150, 2, -7, 0, 0, 5, 150, 0, 150, 1, 0], 3, 1, 4);
  for (const loss of DIVERGENCE_NAMES)
    testVariants(`${loss} and its gradient stay finite and right`, async (gpu, teacherType) => {
      const run: LossRun = {
        loss,
        student,
        teacher,
        teacherType,
        targets: targetsOf(3, 4),
        beta: 0.3,
      };
      const { kd, gradient } = await answer(gpu, run);
      expect(finite(kd), `${kd}`).toBe(true);
      expect(finite(gradient), `${gradient}`).toBe(true);
      const expected = lossTruth(run);
      for (const [i, want] of expected.kd.entries())
        expect(Math.abs(kd[i] - want), `${kd[i]}, want ${want}`).toBeLessThanOrEqual(
          2e-5 * Math.abs(want) + 2e-6,
        );
      // Slopes go from 1e-43, which f32 cannot hold, to 1.
      expect(reference.maxAbsError(gradient, expected.gradient)).toBeLessThanOrEqual(1e-5);
    });
});

describe('no valid target', () => {
  for (const loss of LOSS_NAMES)
    testVariants(
      `${loss}: zeros, and a gradient of zeros`,
      async (gpu, teacherType) => {
        const targets = view([IGNORED, IGNORED, IGNORED], 3, 1);
        const run = {
          loss,
          student: logits(3, 37, 1),
          teacher: logits(3, 37, 2, teacherType),
          teacherType,
          targets,
        };
        const { ce, kd, gradient } = await answer(gpu, { ...run, scale: 65536 });
        expect([...ce, ...kd]).toEqual(new Array(6).fill(0));
        expect(new Set(gradient.map(Math.abs))).toEqual(new Set([0]));
      },
      undefined,
      ['f32'],
    );
});

describe('words that the teacher rules out with −∞', () => {
  const V = 67;
  const student = logits(2, V, 3);
  const ruledOut = (teacherType: Storage) => {
    const teacher = logits(2, V, 4, teacherType);
    return view(
      teacher.data.map((y, i) => ((i % V) % 3 === 0 || i % V > 50 ? Number.NEGATIVE_INFINITY : y)),
      2,
      1,
      V,
    );
  };
  for (const loss of LOSS_NAMES.filter((name) => name !== 'rkl'))
    testVariants(
      loss,
      async (gpu, teacherType) => {
        const run: LossRun = {
          loss,
          student,
          teacher: ruledOut(teacherType),
          teacherType,
          targets: targetsOf(2, V),
        };
        await expectTruth(gpu, { ...run, temperature: 2, alpha: 0.7, beta: 0.3 });
      },
      undefined,
      loss === 'ce' ? ['f32'] : undefined,
    );

  // KL(q ‖ p) is infinite there. What the step sees is a gradient that is far too large, which
  // clipping or the loss scaler meets; a NaN would pass neither.
  testVariants('rkl is huge, and no NaN', async (gpu, teacherType) => {
    const run: LossRun = {
      loss: 'rkl',
      student,
      teacher: ruledOut(teacherType),
      teacherType,
      targets: targetsOf(2, V),
    };
    const { kd, gradient } = await answer(gpu, run);
    expect(Math.min(...kd)).toBeGreaterThan(1e20);
    expect(gradient.some(Number.isNaN)).toBe(false);
    expect(reference.norm(gradient)).toBeGreaterThan(1e20);
  });
});

describe('logits of ±10,000', () => {
  const V = 33;
  const huge = (salt: number) =>
    view(
      numbers(3 * V, salt).map((value) => (value > 0 ? 1e4 : -1e4)),
      3,
      1,
      V,
    );
  for (const loss of LOSS_NAMES)
    testVariants(
      loss,
      async (gpu, teacherType) => {
        const run = {
          loss,
          student: huge(5),
          teacher: huge(6),
          teacherType,
          targets: targetsOf(3, V),
        };
        const { gradient } = await expectTruth(gpu, { ...run, alpha: 0.7, beta: 0.3 });
        expect(finite(gradient)).toBe(true);
      },
      undefined,
      loss === 'ce' ? ['f32'] : undefined,
    );
});

describe('vocabularies', () => {
  const truths = new Map<string, ReturnType<typeof lossTruth>>();
  // A prime, GPT-2's, and Llama 3's. The large ones once each way, for their truth takes long.
  for (const [V, lanes] of [
    [1009, undefined],
    [50257, ['one lane']],
    [128256, ['many lanes']],
  ] as const) {
    for (const loss of LOSS_NAMES)
      testVariants(
        `${loss}, ${V} words`,
        async (gpu, teacherType) => {
          const models = {
            student: logits(2, V, 7),
            teacher: logits(2, V, 8, teacherType),
            teacherType,
          };
          const run: LossRun = {
            ...models,
            loss,
            targets: targetsOf(2, V),
            temperature: 2,
            alpha: 0.7,
            beta: 0.3,
          };
          // Both numbers of lanes ask for the same truth, which takes longer than the kernel.
          const key = `${loss} ${V} ${teacherType}`;
          await expectTruth(gpu, run, () => {
            const truth = truths.get(key) ?? lossTruth(run);
            truths.set(key, truth);
            return truth;
          });
        },
        lanes,
        loss === 'ce' ? ['f32'] : undefined,
      );

    testVariants(`evaluation, ${V} words`, async (gpu, teacherType) => {
      const [z, y, t] = [logits(2, V, 7), logits(2, V, 8, teacherType), targetsOf(2, V)];
      const perToken = zeros(gpu, 'per token', [2, 4]);
      const student = upload(gpu, 'student', z.data, z.layout);
      const teacher = upload(gpu, 'teacher', y.data, y.layout, teacherType);
      const targets = upload(gpu, 'targets', t.data, t.layout, 'i32');
      const inputs = { student, teacher, targets, perToken, ignoreIndex: IGNORED };
      await execute(gpu, (recorder) => compare(recorder, inputs));
      const got = await download(gpu, perToken);
      const { studentNll, teacherNll, kl, agreement } = reference.evaluateRows(z, y, t);
      const wanted = [0, 1].flatMap((row) => [
        studentNll[row],
        teacherNll[row],
        kl[row],
        agreement[row],
      ]);
      for (const [i, want] of wanted.entries())
        expect(Math.abs(got[i] - want), `${i}: ${got[i]}, want ${want}`).toBeLessThanOrEqual(
          2e-5 * want + 2e-6,
        );
    });
  }
});

describe('a student that equals its teacher', () => {
  for (const V of [37, 50257]) {
    testVariants(
      `has a divergence below 1e-6 and no gradient from it, ${V} words`,
      async (gpu, teacherType) => {
        const equal = logits(2, V, 9, teacherType);
        for (const loss of DIVERGENCE_NAMES) {
          const run: LossRun = {
            loss,
            student: equal,
            teacher: equal,
            teacherType,
            targets: targetsOf(2, V),
          };
          const { kd, gradient } = await answer(gpu, { ...run, temperature: 2, beta: 0.3 });
          for (const value of kd) expect(Math.abs(value), loss).toBeLessThan(1e-6);
          expect(reference.norm(gradient), `${loss}, gradient`).toBeLessThan(1e-6);
        }
      },
    );
  }

  testVariants('reads as KL below 1e-6 in an evaluation', async (gpu, teacherType) => {
    const V = 50257;
    const { data, layout } = logits(2, V, 9, teacherType);
    const perToken = zeros(gpu, 'per token', [2, 4]);
    const student = upload(gpu, 'student', data, layout);
    const teacher = upload(gpu, 'teacher', data, layout, teacherType);
    const targets = upload(gpu, 'targets', [5, V - 1], [2, 1], 'i32');
    await execute(gpu, (r) =>
      compare(r, { student, teacher, targets, perToken, ignoreIndex: IGNORED }),
    );
    const figures = await download(gpu, perToken);
    for (const row of [0, 1]) {
      expect(Math.abs(figures[4 * row + 2])).toBeLessThan(1e-6);
      expect(figures[4 * row]).toBe(figures[4 * row + 1]);
      expect(figures[4 * row + 3]).toBe(1);
    }
  });
});

describe('gradients in f16', () => {
  // Logits from a normal distribution of deviation 2, as a trained GPT-2's are within a row: then
  // ln q is normal too, about −ln V − 2, and a gradient q · scale / tokens becomes 0 below half of
  // the smallest f16, 2^-25. Of a standard normal variable,
  // 94.1% lie below (ln(2^-25 · tokens · V / scale) + 2) / 2 = 1.56 at scale 1, and 3 in 10^5 below
  // −3.98 at 65536.
  const [TOKENS, ROWS, V] = [2048, 4, 50257];

  it('are mostly lost to a mean over 2,048 tokens, and a loss scale of 65536 keeps them', async () => {
    const gpu = await openVariant('one lane');
    const random = new Random(1);
    const student = view(
      Float32Array.from({ length: ROWS * V }, () => 2 * random.normal()),
      ROWS,
      1,
      V,
    );
    // ce reads no teacher; the student stands in for one.
    const run: LossRun = {
      loss: 'ce',
      student,
      teacher: student,
      targets: targetsOf(ROWS, V),
      tokens: TOKENS,
    };
    const lost = async (scale: number) => {
      const { gradient } = await answer(gpu, { ...run, scale });
      expect(gradient.every((value) => value !== 0)).toBe(true);
      return gradient.filter((value) => roundToHalf(value) === 0).length / gradient.length;
    };
    // 200,000 draws scatter by 0.0005; a row's Σ exp z, which shifts all of it, by 3%, which is
    // 0.002.
    expect(Math.abs((await lost(1)) - 0.941)).toBeLessThan(0.005);
    expect(await lost(65536)).toBeLessThan(0.01);
  });
});
