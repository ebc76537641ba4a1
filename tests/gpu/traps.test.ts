// The losses where implementations often go wrong: probabilities that underflow, tokens ruled out,
// huge logits, real vocabularies, no valid target, a student equal to its teacher, and gradients
// too small for f16.
//
// Tolerances as for the goldens, unless a test says otherwise: 2e-5 relative plus 2e-6 per token,
// and 1e-4 of the gradient's norm.

import { describe, expect, it } from 'vitest';
import { DIVERGENCE_NAMES } from '../../src/divergences';
import type { Gpu } from '../../src/gpu/device';
import { compare } from '../../src/kernels/losses';
import * as reference from '../../src/reference';
import { roundToHalf } from '../../src/tensor/dtype';
import { Layout } from '../../src/tensor/layout';
import { Random } from '../../src/tensor/random';
import {
  IGNORED,
  LOSS_NAMES,
  type LossRun,
  lossReference,
  prepareLoss,
  type View,
} from './loss-runs';
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

async function lossOnGpu(gpu: Gpu, run: LossRun) {
  const prepared = prepareLoss(gpu, run);
  await execute(gpu, (recorder) => prepared.record(recorder));
  return prepared.read();
}

async function expectReference(gpu: Gpu, run: LossRun, expectedOf = () => lossReference(run)) {
  const { loss } = run;
  const [actual, expected] = [await lossOnGpu(gpu, run), expectedOf()];
  for (const name of ['ce', 'kd'] as const) {
    for (const [i, want] of expected[name].entries()) {
      const got = actual[name][i];
      const tolerance = 2e-5 * Math.abs(want) + 2e-6;
      expect(
        Math.abs(got - want),
        `${loss}, ${name} ${i}: ${got}, want ${want}`,
      ).toBeLessThanOrEqual(tolerance);
    }
  }
  const error = reference.relativeError(actual.gradient, expected.gradient);
  expect(error, `${loss}, gradient`).toBeLessThanOrEqual(1e-4);
  return actual;
}

describe('probabilities that underflow', () => {
  // Next to a logit of 150 the other tokens have ln p below −104, where exp gives 0 in f32. In the
  // first row both models are sure of different tokens; in the second, with a close runner-up; in
  // the third, the teacher is sure and the student is not.
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
      const { kd, gradient } = await lossOnGpu(gpu, run);
      expect(finite(kd), `${kd}`).toBe(true);
      expect(finite(gradient), `${gradient}`).toBe(true);
      const expected = lossReference(run);
      for (const [i, want] of expected.kd.entries())
        expect(Math.abs(kd[i] - want), `${kd[i]}, want ${want}`).toBeLessThanOrEqual(
          2e-5 * Math.abs(want) + 2e-6,
        );
      // Gradients range from 1e-43, which f32 cannot hold, to 1.
      expect(reference.maxAbsError(gradient, expected.gradient)).toBeLessThanOrEqual(1e-5);
    });
});

for (const loss of LOSS_NAMES)
  testVariants(
    `no valid target: ${loss} and its gradient are 0`,
    async (gpu, teacherType) => {
      const targets = view([IGNORED, IGNORED, IGNORED], 3, 1);
      const run = {
        loss,
        student: logits(3, 37, 1),
        teacher: logits(3, 37, 2, teacherType),
        teacherType,
        targets,
      };
      const { ce, kd, gradient } = await lossOnGpu(gpu, { ...run, scale: 65536 });
      expect([...ce, ...kd]).toEqual(new Array(6).fill(0));
      expect(new Set(gradient.map(Math.abs))).toEqual(new Set([0]));
    },
    undefined,
    ['f32'],
  );

describe('tokens that the teacher rules out with −∞', () => {
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
        await expectReference(gpu, { ...run, temperature: 2, alpha: 0.7, beta: 0.3 });
      },
      undefined,
      loss === 'ce' ? ['f32'] : undefined,
    );

  // KL(q ‖ p) is infinite there. The step gets a gradient that is far too large, which clipping or
  // the loss scaler handles; a NaN would spoil both.
  testVariants('rkl is huge, but not NaN', async (gpu, teacherType) => {
    const run: LossRun = {
      loss: 'rkl',
      student,
      teacher: ruledOut(teacherType),
      teacherType,
      targets: targetsOf(2, V),
    };
    const { kd, gradient } = await lossOnGpu(gpu, run);
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
        const { gradient } = await expectReference(gpu, { ...run, alpha: 0.7, beta: 0.3 });
        expect(finite(gradient)).toBe(true);
      },
      undefined,
      loss === 'ce' ? ['f32'] : undefined,
    );
});

describe('vocabularies', () => {
  const references = new Map<string, ReturnType<typeof lossReference>>();
  // A prime, GPT-2's, and Llama 3's. The large ones run with one number of lanes each, since their
  // reference takes long.
  for (const [V, lanes] of [
    [1009, undefined],
    [50257, ['one lane']],
    [128256, ['many lanes']],
  ] as const) {
    for (const loss of LOSS_NAMES)
      testVariants(
        `${loss}, ${V} tokens`,
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
          // Both numbers of lanes share one reference, which takes longer than the kernel.
          const key = `${loss} ${V} ${teacherType}`;
          await expectReference(gpu, run, () => {
            const expected = references.get(key) ?? lossReference(run);
            references.set(key, expected);
            return expected;
          });
        },
        lanes,
        loss === 'ce' ? ['f32'] : undefined,
      );

    testVariants(`evaluation, ${V} tokens`, async (gpu, teacherType) => {
      const [z, y, t] = [logits(2, V, 7), logits(2, V, 8, teacherType), targetsOf(2, V)];
      const perToken = zeros(gpu, 'per token', [2, 6]);
      const student = upload(gpu, 'student', z.data, z.layout);
      const teacher = upload(gpu, 'teacher', y.data, y.layout, teacherType);
      const targets = upload(gpu, 'targets', t.data, t.layout, 'i32');
      const inputs = { student, teacher, targets, perToken, ignoreIndex: IGNORED };
      await execute(gpu, (recorder) => compare(recorder, inputs));
      const got = await download(gpu, perToken);
      const expected = reference.evaluateRows(z, y, t);
      const wanted = [0, 1].flatMap((row) => [
        expected.studentNll[row],
        expected.teacherNll[row],
        expected.kl[row],
        expected.agreement[row],
        expected.studentRight[row],
        expected.teacherRight[row],
      ]);
      for (const [i, want] of wanted.entries())
        expect(Math.abs(got[i] - want), `${i}: ${got[i]}, want ${want}`).toBeLessThanOrEqual(
          2e-5 * want + 2e-6,
        );
    });
  }
});

describe('a student equal to its teacher', () => {
  for (const V of [37, 50257]) {
    testVariants(
      `has divergences and gradients below 1e-6, ${V} tokens`,
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
          const { kd, gradient } = await lossOnGpu(gpu, { ...run, temperature: 2, beta: 0.3 });
          for (const value of kd) expect(Math.abs(value), loss).toBeLessThan(1e-6);
          expect(reference.norm(gradient), `${loss}, gradient`).toBeLessThan(1e-6);
        }
      },
    );
  }

  testVariants('has a KL below 1e-6 in an evaluation', async (gpu, teacherType) => {
    const V = 50257;
    const { data, layout } = logits(2, V, 9, teacherType);
    const perToken = zeros(gpu, 'per token', [2, 6]);
    const student = upload(gpu, 'student', data, layout);
    const teacher = upload(gpu, 'teacher', data, layout, teacherType);
    const targets = upload(gpu, 'targets', [5, V - 1], [2, 1], 'i32');
    await execute(gpu, (r) =>
      compare(r, { student, teacher, targets, perToken, ignoreIndex: IGNORED }),
    );
    const results = await download(gpu, perToken);
    for (const row of [0, 1]) {
      expect(Math.abs(results[6 * row + 2])).toBeLessThan(1e-6);
      expect(results[6 * row]).toBe(results[6 * row + 1]);
      expect(results[6 * row + 3]).toBe(1);
    }
  });
});

describe('gradients in f16', () => {
  // Logits are normal with a deviation of 2, as those of a trained GPT-2 are within a row. Then
  // ln q is normal too, around −ln V − 2, and a gradient q · scale / tokens rounds to 0 below half
  // of the smallest f16, 2^-25. Of a standard normal variable, 94.1% lie below
  // (ln(2^-25 · tokens · V / scale) + 2) / 2 = 1.56 at a scale of 1, and 3 in 10^5 below −3.98 at
  // 65536.
  const [TOKENS, ROWS, V] = [2048, 4, 50257];

  it('are mostly lost in a mean over 2,048 tokens unless the loss is scaled by 65536', async () => {
    const gpu = await openVariant('one lane');
    const random = new Random(1);
    const student = view(
      Float32Array.from({ length: ROWS * V }, () => 2 * random.normal()),
      ROWS,
      1,
      V,
    );
    // ce reads no teacher, so any tensor will do.
    const run: LossRun = {
      loss: 'ce',
      student,
      teacher: student,
      targets: targetsOf(ROWS, V),
      tokens: TOKENS,
    };
    const lost = async (scale: number) => {
      const { gradient } = await lossOnGpu(gpu, { ...run, scale });
      expect(gradient.every((value) => value !== 0)).toBe(true);
      return gradient.filter((value) => roundToHalf(value) === 0).length / gradient.length;
    };
    // The share varies by 0.0005 for 200,000 samples, and by 0.002 because a row's Σ exp z varies
    // by 3%.
    expect(Math.abs((await lost(1)) - 0.941)).toBeLessThan(0.005);
    expect(await lost(65536)).toBeLessThan(0.01);
  });
});
