// The losses at the ends of what numbers can be: logits as large as f16 has them, a vocabulary of
// one token; and a NaN or an infinity in one place, of which no figure of that row may be made. The
// other rows are as if it were not there.
//
// Tolerance: ln q of a logit x is off by (3 + 2|x|) · 2^-23, and the largest expected value is of
// the size of x.

import { expect, it } from 'vitest';
import { DIVERGENCE_NAMES } from '../../src/divergences';
import { compare, DIAGNOSES, diagnose, distil } from '../../src/kernels/losses';
import * as reference from '../../src/reference';
import { Layout } from '../../src/tensor/layout';
import {
  download,
  execute,
  expectClose,
  LANES,
  type Lanes,
  openVariant,
  upload,
  uploadLossState,
  zeros,
} from './variants';

const TOLERANCE = 1e-5;
const ROWS = 3;

/** Values of `names` for each of `rows` rows, their gradients by the student's logits. */
async function lossOf(
  lanes: Lanes,
  divergence: (typeof DIVERGENCE_NAMES)[number],
  [student, teacher]: readonly [Float64Array, Float64Array],
  V: number,
) {
  const gpu = await openVariant(lanes);
  const rows = student.length / V;
  const layout = Layout.contiguous([1, rows, V]);
  const logits = upload(gpu, 'student', student, layout);
  const perToken = zeros(gpu, 'per token', [rows, 2]);
  const inputs = {
    student: logits,
    teacher: upload(gpu, 'teacher', teacher, layout),
    targets: upload(gpu, 'targets', new Float64Array(rows), [1, rows], 'i32'),
    ignoreIndex: -100,
    perToken,
    ...uploadLossState(gpu, { temperature: 2, alpha: 0.5, tokens: rows, scale: 1 }),
    gradient: true,
    divergence,
    beta: 0.5,
  };
  await execute(gpu, (recorder) => distil(recorder, inputs));
  return { perToken: await download(gpu, perToken), gradient: await download(gpu, logits) };
}

/** Some logits of either sign, `size` large, no two of them equal. */
const large = (size: number, V: number, salt: number) =>
  Float64Array.from(reference.numbers(ROWS * V, salt, 4), (x, i) => (i % 3) * x + (i % 2) * size);

it.each(LANES)('logits up to f16’s largest, one token or many (%s)', async (lanes) => {
  for (const V of [1, 37]) {
    for (const size of [-1e4, 65504]) {
      const student = large(size, V, 1).map(Math.fround);
      const teacher = large(-size, V, 2).map(Math.fround);
      const layout = Layout.contiguous([1, ROWS, V]);
      const expected = reference.distillationLoss(
        { kind: 'ce' },
        { data: student, layout },
        undefined,
        { data: new Float64Array(ROWS), layout: Layout.contiguous([1, ROWS]) },
      );
      for (const divergence of DIVERGENCE_NAMES) {
        const { perToken, gradient } = await lossOf(lanes, divergence, [student, teacher], V);
        const what = `${divergence}, V ${V}, ${size}`;
        const kd = reference.distillationLoss(
          { kind: divergence, temperature: 2, beta: 0.5 },
          { data: student, layout },
          { data: teacher, layout },
          { data: new Float64Array(ROWS), layout: Layout.contiguous([1, ROWS]) },
        );
        const column = (c: number) => perToken.filter((_, i) => i % 2 === c);
        expectClose(column(0), expected.perToken, TOLERANCE, `ce of ${what}`);
        expectClose(
          column(1),
          kd.perToken.map((x) => x / 4),
          TOLERANCE,
          `kd of ${what}`,
        );
        const mixed = expected.gradient.map((g, i) => (g + kd.gradient[i]) / 2);
        expect(reference.maxAbsError(gradient, mixed), `gradient of ${what}`).toBeLessThan(1e-4);
      }
    }
  }
});

it('262,144 tokens, as many as a model may have', async () => {
  const V = 2 ** 18;
  const [student, teacher] = [large(5, V, 1), large(5, V, 2)].map((all) => all.map(Math.fround));
  const layout = Layout.contiguous([1, ROWS, V]);
  const targets = { data: new Float64Array(ROWS), layout: Layout.contiguous([1, ROWS]) };
  const [ce, kd] = (['ce', 'fkl'] as const).map((kind) =>
    reference.distillationLoss(
      { kind, temperature: 2, beta: 0.5 },
      { data: student, layout },
      kind === 'ce' ? undefined : { data: teacher, layout },
      targets,
    ),
  );
  const { perToken, gradient } = await lossOf('one lane', 'fkl', [student, teacher], V);
  const [hard, soft] = [0, 1].map((c) => perToken.filter((_, i) => i % 2 === c));
  expectClose(hard, ce.perToken, TOLERANCE, 'ce');
  expectClose(
    soft,
    kd.perToken.map((x) => x / 4),
    TOLERANCE,
    'kd',
  );
  const mixed = ce.gradient.map((g, i) => (g + kd.gradient[i]) / 2);
  expect(reference.relativeError(gradient, mixed)).toBeLessThan(1e-4);
});

/** Diagnoses that look at one model alone. */
const ONE_MODELS: Partial<Record<(typeof DIAGNOSES)[number], 'student' | 'teacher'>> = {
  teacherEntropy: 'teacher',
  softEntropy: 'teacher',
  studentEntropy: 'student',
  confidence: 'student',
};
const BROKEN = [
  ['student', Number.NaN],
  ['student', Number.POSITIVE_INFINITY],
  ['teacher', Number.NaN],
  ['teacher', Number.POSITIVE_INFINITY],
] as const;

it.each(LANES)('a NaN or an infinity in one place is no measurement (%s)', async (lanes) => {
  const V = 37;
  const whole = [large(5, V, 1), large(5, V, 2)].map((all) => all.map(Math.fround));
  const [row, at] = [1, V + 20];
  for (const [of, value] of BROKEN) {
    const broken = whole.map((all) => all.slice()) as [Float64Array, Float64Array];
    broken[of === 'student' ? 0 : 1][at] = value;
    for (const divergence of DIVERGENCE_NAMES) {
      const right = await lossOf(lanes, divergence, whole as typeof broken, V);
      const wrong = await lossOf(lanes, divergence, broken, V);
      const what = `${divergence}, ${value} of the ${of}`;
      for (let r = 0; r < ROWS; r++) {
        const gradient = (one: typeof right) => [...one.gradient.slice(r * V, (r + 1) * V)];
        const figures = (one: typeof right) => [...one.perToken.slice(2 * r, 2 * r + 2)];
        if (r !== row) {
          expect(gradient(wrong), what).toEqual(gradient(right));
          expect(figures(wrong), what).toEqual(figures(right));
        } else {
          expect(gradient(wrong).every(Number.isFinite), what).toBe(false);
          expect(Number.isFinite(figures(wrong)[1]), `kd, ${what}`).toBe(false);
          if (of === 'student')
            expect(Number.isFinite(figures(wrong)[0]), `ce, ${what}`).toBe(false);
        }
      }
    }
    const gpu = await openVariant(lanes);
    const layout = Layout.contiguous([1, ROWS, V]);
    const inputs = {
      student: upload(gpu, 'student', broken[0], layout),
      teacher: upload(gpu, 'teacher', broken[1], layout),
      targets: upload(gpu, 'targets', new Float64Array(ROWS), [1, ROWS], 'i32'),
      ignoreIndex: -100,
    };
    const { step } = uploadLossState(gpu, { temperature: 2, tokens: ROWS, scale: 1 });
    const compared = zeros(gpu, 'compared', [ROWS, 6]);
    const diagnosed = zeros(gpu, 'diagnosed', [ROWS, DIAGNOSES.length]);
    await execute(gpu, (recorder) => {
      compare(recorder, { ...inputs, perToken: compared });
      diagnose(recorder, { ...inputs, perToken: diagnosed, step });
    });
    const figures = await download(gpu, compared);
    const [studentNll, teacherNll, kl] = figures.slice(6 * row);
    // Some adapters make an infinity of a NaN's exponential.
    const nll = of === 'student' ? studentNll : teacherNll;
    expect(Number.isFinite(nll), `nll, ${value} of the ${of}`).toBe(false);
    expect(Number.isFinite(kl), `kl, ${value} of the ${of}`).toBe(false);
    expect([0, 2].every((r) => Number.isFinite(figures[6 * r + 2]))).toBe(true);
    const diagnoses = await download(gpu, diagnosed);
    for (const [i, name] of DIAGNOSES.entries()) {
      const [before, one, after] = [0, 1, 2].map((r) => diagnoses[DIAGNOSES.length * r + i]);
      const isOf = ONE_MODELS[name] === undefined || ONE_MODELS[name] === of;
      expect(Number.isFinite(one), `${name}, ${value} of the ${of}`).toBe(!isOf);
      expect([before, after].every(Number.isFinite), name).toBe(true);
    }
  }
});
