// The losses, the evaluation's figures and the copy against their slow twins, through every layout
// that logits come in.
//
// Tolerances are relative to the largest expected element. Logarithms of sums of V exponentials,
// each off by some (3 + 2|x|) · 2^-23 with |x| up to 10 here, and their differences: 1e-5.
// Probabilities the same. Teacher logits in f16 are exact: the twin reads them as f16 holds them,
// and nothing is written back in f16.

import { describe, expect, it } from 'vitest';
import type { Gpu } from '../../src/gpu/device';
import { copy } from '../../src/kernels/copy';
import { ce, compare, distil } from '../../src/kernels/losses';
import * as reference from '../../src/reference';
import { Layout } from '../../src/tensor/layout';
import {
  download,
  execute,
  expectClose,
  openVariant,
  type Storage,
  stored,
  testVariants,
  upload,
  zeros,
} from './variants';

const { numbers } = reference;
const TOLERANCE = 1e-5;
const IGNORED = -100;
const [B, T] = [3, 5];
/** Fewer words than lanes, and a number of words that the lanes do not divide. */
const VOCABULARIES = [37, 131];

/** How logits (B, T, V) may lie. */
const LAYOUTS: Record<string, (V: number) => Layout> = {
  contiguous: (V) => Layout.contiguous([B, T, V]),
  'shifted, [:, :-1]': (V) => Layout.contiguous([B, T + 1, V]).slice(1, 0, -1),
  'time-major': (V) => Layout.contiguous([T, B, V]).transpose(0, 1),
  'with a padded vocabulary': (V) => Layout.contiguous([B, T, V + 6]).slice(2, 0, V),
  'at an offset': (V) => new Layout([B, T, V], [T * V, V, 1], 7),
  'with words apart': (V) => Layout.contiguous([B, T, V, 2]).select(3, 1),
};
const names = Object.keys(LAYOUTS);
/**
 * Another layout for the teacher than for the student, so that no kernel can mix them up unseen.
 */
const teacherLayout = (student: string) =>
  LAYOUTS[names[(names.indexOf(student) + 1) % names.length]];
/** [:, 1:] of (B, T + 1), time-major, and contiguous. */
const targetLayouts = [
  Layout.contiguous([B, T + 1]).slice(1, 1, null),
  Layout.contiguous([T, B]).transpose(0, 1),
  Layout.contiguous([B, T]),
];

/**
 * A storage with something in the elements that the layout does not look at, and some behind them.
 */
const fill = (layout: Layout, salt: number, dtype: Storage = 'f32') =>
  stored(numbers(layout.extent + 9, salt, 4), dtype);

/** Targets through a layout; those at `ignored` (row numbers) count for nothing. */
function targetsOf(layout: Layout, V: number, ignored: (row: number) => boolean): Float64Array {
  // Where the layout does not look there is a valid target too, which must not be counted.
  const data = new Float64Array(layout.extent + 3).fill(1);
  for (const [row, at] of [...layout.addresses()].entries())
    data[at] = ignored(row) ? IGNORED : [0, V - 1, (row * 29) % V][row % 3];
  return data;
}

const SCALE = 1024;

/** What the trainer keeps on the GPU for the loss kernels. */
function controls(gpu: Gpu, valid: number, temperature = 1, alpha = 0) {
  const step = gpu.memory.create(
    'data',
    'step',
    16,
    GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  );
  const values = new Float32Array([1e-3, temperature, alpha, valid > 0 ? 1 / valid : 0]);
  gpu.device.queue.writeBuffer(step, 0, values);
  return { step, scaler: upload(gpu, 'scaler', [SCALE], [1]).place };
}

interface Setting {
  V: number;
  student: string;
  temperature: number;
  alpha: number;
  ignored?: (row: number) => boolean;
  /** Words that the teacher rules out. */
  ruledOut?: (v: number) => boolean;
  /** Rows in a chunk; the student's logits are then contiguous, the teacher's padded. */
  chunkRows?: number;
  gradient?: boolean;
}

/**
 * Runs a loss and compares values, gradient and all that must stay as it was. `kind` ce has no
 * teacher.
 */
async function compareLoss(gpu: Gpu, kind: 'ce' | 'mixed', teacherType: Storage, setting: Setting) {
  const {
    V,
    student: name,
    temperature,
    alpha,
    ignored = () => false,
    ruledOut = () => false,
    gradient = true,
  } = setting;
  const [sLayout, yLayout] = [LAYOUTS[name](V), teacherLayout(name)(V)];
  const tLayout = targetLayouts[names.indexOf(name) % targetLayouts.length];
  const sData = fill(sLayout, 1);
  const yData = fill(yLayout, 2, teacherType);
  for (const [i, at] of [...yLayout.addresses()].entries())
    if (ruledOut(i % V)) yData[at] = Number.NEGATIVE_INFINITY;
  const tData = targetsOf(tLayout, V, ignored);
  const expected = reference.distillationLoss(
    { kind, temperature, alpha, ignoreIndex: IGNORED },
    { data: sData, layout: sLayout },
    { data: yData, layout: yLayout },
    { data: tData, layout: tLayout },
  );
  const tensors = {
    targets: upload(gpu, 'targets', tData, tLayout, 'i32'),
    perToken: upload(gpu, 'per token', new Float64Array(B * T * 2).fill(777), [B * T, 2]),
    ...controls(gpu, expected.valid, temperature, alpha),
    ignoreIndex: IGNORED,
    gradient,
  };
  const whole = upload(gpu, 'teacher', yData, yLayout, teacherType);
  /** Some rows of the teacher's, in row-major order, one word apart from each other's end. */
  const teacherRows = (first: number, count: number) => {
    const layout = new Layout([count, V], [V + 1, 1]);
    const addresses = [...yLayout.addresses()].slice(first * V, (first + count) * V);
    const data = new Float64Array(count * (V + 1)).fill(777);
    for (const [i, at] of [...layout.addresses()].entries()) data[at] = yData[addresses[i]];
    return upload(gpu, 'teacher chunk', data, layout, teacherType);
  };
  const rows = setting.chunkRows ?? B * T;
  const actual = sData.slice();
  for (let first = 0; first < B * T; first += rows) {
    const count = Math.min(rows, B * T - first);
    const part = sData.slice(first * V, (first + count) * V);
    const chunk = setting.chunkRows ? { first, rows: count } : undefined;
    const student = chunk
      ? upload(gpu, 'chunk', part, [count, V])
      : upload(gpu, 'student', sData, sLayout);
    const teacher = chunk ? teacherRows(first, count) : whole;
    await execute(gpu, (recorder) =>
      kind === 'ce'
        ? ce(recorder, { ...tensors, student, chunk })
        : distil(recorder, { ...tensors, student, teacher, chunk, divergence: 'fkl', beta: 0.5 }),
    );
    actual.set(await download(gpu, student), first * V);
  }

  const perToken = await download(gpu, tensors.perToken);
  const one = (weights: { temperature: number; alpha: number }) =>
    reference.distillationLoss(
      { kind: 'mixed', ...weights, ignoreIndex: IGNORED },
      { data: sData, layout: sLayout },
      { data: yData, layout: yLayout },
      { data: tData, layout: tLayout },
    ).perToken;
  const values = (column: number) => perToken.filter((_, i) => i % 2 === column);
  expectClose(values(0), one({ temperature: 1, alpha: 0 }), TOLERANCE, 'ce');
  // per_token keeps KL without T².
  const kl = one({ temperature, alpha: 1 }).map((value) => value / temperature ** 2);
  expectClose(values(1), kind === 'mixed' ? kl : new Float64Array(B * T), TOLERANCE, 'kl');

  const covered = gradient ? [...sLayout.addresses()] : [];
  expectClose(
    covered.map((at) => actual[at]),
    covered.map((at) => SCALE * expected.gradient[at]),
    TOLERANCE,
    'gradient',
  );
  const rest = new Set(sData.keys());
  for (const at of covered) rest.delete(at);
  expect([...rest].map((at) => actual[at])).toEqual([...rest].map((at) => sData[at]));
}

const someIgnored = (row: number) => row % 4 === 1;

for (const kind of ['ce', 'mixed'] as const) {
  describe(kind, () => {
    // ce reads no teacher, so there is nothing of it in f16.
    const dtypes: Storage[] = kind === 'ce' ? ['f32'] : ['f32', 'f16'];
    const test = (
      title: string,
      setting: Omit<Setting, 'V' | 'temperature' | 'alpha'> & Partial<Setting>,
    ) =>
      testVariants(
        title,
        async (gpu, dtype) => {
          for (const V of VOCABULARIES)
            await compareLoss(gpu, kind, dtype, { temperature: 2, alpha: 0.7, ...setting, V });
        },
        // Whether a gradient is written is decided behind the last line that lanes share; once is
        // enough, for each variant is compiled afresh.
        setting.gradient === false ? ['one lane'] : undefined,
        dtypes,
      );

    for (const student of names)
      test(`logits ${student}, some targets ignored`, { student, ignored: someIgnored });
    test('no target ignored', { student: 'contiguous' });
    test('every target ignored: zeros, and a gradient of zeros', {
      student: 'shifted, [:, :-1]',
      ignored: () => true,
    });
    test('in chunks of 4 rows', { student: 'contiguous', ignored: someIgnored, chunkRows: 4 });
    test('without a gradient the logits stay', {
      student: 'time-major',
      ignored: someIgnored,
      gradient: false,
    });
  });
}

describe('mixed', () => {
  for (const [temperature, alpha] of [
    [1, 1],
    [0.5, 0],
    [8, 0.3],
  ]) {
    testVariants(`temperature ${temperature}, alpha ${alpha}`, (gpu, dtype) =>
      compareLoss(gpu, 'mixed', dtype, {
        V: 131,
        student: 'contiguous',
        temperature,
        alpha,
        ignored: someIgnored,
      }),
    );
  }
  testVariants('words that the teacher rules out with −∞', (gpu, dtype) =>
    compareLoss(gpu, 'mixed', dtype, {
      V: 131,
      student: 'shifted, [:, :-1]',
      temperature: 2,
      alpha: 0.7,
      ruledOut: (v) => v % 3 === 0 || v > 100,
    }),
  );

  testVariants(
    'a student that equals its teacher has no KL and no gradient from it',
    async (gpu, dtype) => {
      const layout = Layout.contiguous([B, T, 37]);
      const logits = fill(layout, 3, dtype);
      const student = upload(gpu, 'student', logits, layout);
      const perToken = zeros(gpu, 'per token', [B * T, 2]);
      const targets = upload(gpu, 'targets', new Float64Array(B * T), [B, T], 'i32');
      const inputs = {
        student,
        targets,
        ignoreIndex: IGNORED,
        perToken,
        ...controls(gpu, B * T, 2, 1),
        gradient: true,
      };
      await execute(gpu, (recorder) =>
        distil(recorder, {
          ...inputs,
          divergence: 'fkl',
          beta: 0.5,
          teacher: upload(gpu, 'teacher', logits, layout, dtype),
        }),
      );
      // 37 terms, each p times a difference of logarithms near 10 that are off by 1e-6.
      expect(
        reference.maxAbsError(
          (await download(gpu, perToken)).filter((_, i) => i % 2 === 1),
          new Float64Array(B * T),
        ),
      ).toBeLessThan(1e-5);
      const gradient = (await download(gpu, student)).slice(0, layout.numel);
      expect(reference.maxAbsError(gradient, new Float64Array(layout.numel))).toBeLessThan(
        (1e-5 * SCALE) / (B * T),
      );
    },
  );
});

describe('compare', () => {
  async function figures(
    gpu: Gpu,
    dtype: Storage,
    V: number,
    name: string,
    ignored: (row: number) => boolean,
    ties = false,
  ) {
    const [sLayout, yLayout] = [LAYOUTS[name](V), teacherLayout(name)(V)];
    const tLayout = targetLayouts[names.indexOf(name) % targetLayouts.length];
    const [sData, yData] = [fill(sLayout, 4), fill(yLayout, 5, dtype)];
    if (ties) {
      // Two words share the largest logit; which one counts decides the agreement. Words of one
      // lane and of two.
      for (let row = 0; row < B * T; row++) {
        const at = (layout: Layout, v: number) => layout.at(Math.floor(row / T), row % T, v);
        const [low, high] = [
          [3, 67],
          [3, 70],
          [64, 66],
          [0, 130],
        ][row % 4];
        for (const v of [low, high]) sData[at(sLayout, v)] = 9;
        yData[at(yLayout, row % 3 === 0 ? high : low)] = 9;
      }
    }
    const tData = targetsOf(tLayout, V, ignored);
    const perToken = upload(gpu, 'per token', new Float64Array(B * T * 4).fill(777), [B * T, 4]);
    const [student, teacher] = [
      upload(gpu, 'student', sData, sLayout),
      upload(gpu, 'teacher', yData, yLayout, dtype),
    ];
    const targets = upload(gpu, 'targets', tData, tLayout, 'i32');
    await execute(gpu, (recorder) =>
      compare(recorder, { student, teacher, targets, perToken, ignoreIndex: IGNORED }),
    );
    const expected = reference.evaluateRows(
      { data: sData, layout: sLayout },
      { data: yData, layout: yLayout },
      { data: tData, layout: tLayout },
    );
    const all = await download(gpu, perToken);
    const column = (c: number) => all.filter((_, i) => i % 4 === c);
    expectClose(column(0), expected.studentNll, TOLERANCE, 'student');
    expectClose(column(1), expected.teacherNll, TOLERANCE, 'teacher');
    expectClose(column(2), expected.kl, TOLERANCE, 'kl');
    expect([...column(3)]).toEqual([...expected.agreement]);
    expect([...(await download(gpu, student))]).toEqual([...sData]);
    return expected.agreement;
  }

  for (const name of names) {
    testVariants(`logits ${name}, some targets ignored`, async (gpu, dtype) => {
      for (const V of VOCABULARIES) await figures(gpu, dtype, V, name, someIgnored);
    });
  }
  testVariants('every target ignored', async (gpu, dtype) => {
    await figures(gpu, dtype, 37, 'contiguous', () => true);
  });
  testVariants('of equal logits the first word is the most likely', async (gpu, dtype) => {
    const agreement = await figures(gpu, dtype, 131, 'contiguous', () => false, true);
    expect(new Set(agreement), 'the case has both answers').toEqual(new Set([0, 1]));
  });
});

describe('copy', () => {
  const SOURCES: Record<string, Layout> = {
    ...Object.fromEntries(names.map((name) => [name, LAYOUTS[name](131)])),
    'a transposed matrix': Layout.contiguous([7, 9]).transpose(0, 1),
    'a vector with a step': Layout.contiguous([40]).slice(0, 3, null, 2),
    'a row that is repeated': Layout.contiguous([1, 5]).expand([4, 5]),
    'four dimensions, turned': Layout.contiguous([2, 3, 4, 5]).permute([3, 1, 0, 2]),
    'more elements than a small grid has threads': Layout.contiguous([100, 101]).transpose(0, 1),
  };
  for (const [from, to] of [
    ['f32', 'f32'],
    ['f32', 'f16'],
    ['f16', 'f32'],
    ['f16', 'f16'],
  ] as const) {
    const dtype = from === 'f16' || to === 'f16' ? 'f16' : 'f32';
    testVariants(
      `every layout, ${from} to ${to}`,
      async (gpu) => {
        for (const [name, layout] of Object.entries(SOURCES)) {
          const data = stored(numbers(layout.extent + 2, 6, 4), from);
          const target = zeros(gpu, 'target', [layout.numel], to);
          await execute(gpu, (recorder) =>
            copy(recorder, upload(gpu, 'source', data, layout, from), target),
          );
          const dense = {
            data: new Float64Array(layout.numel),
            layout: reference.rowMajor(layout.shape),
          };
          const expected = reference.copy({ data, layout }, dense);
          const actual = await download(gpu, target);
          if (from === 'f32' && to === 'f16') expectClose(actual, expected, 2 ** -11, name);
          else expect([...actual], name).toEqual([...expected]);
        }
      },
      undefined,
      [dtype],
    );
  }

  testVariants(
    'into every layout, which leaves what the layout does not reach',
    async (gpu, dtype) => {
      const TARGETS: Record<string, Layout> = {
        'logits[:, :-1]': Layout.contiguous([3, 5, 7]).slice(1, 0, -1),
        'the last position': Layout.contiguous([3, 5, 7]).slice(1, -1),
        'heads, turned': Layout.contiguous([2, 6, 3, 4]).transpose(1, 2),
        'the middle third of wider rows': Layout.contiguous([2, 5, 3, 8])
          .select(2, 1)
          .unflatten(2, [2, 4])
          .transpose(1, 2),
        'a transposed matrix': Layout.contiguous([101, 100]).transpose(0, 1),
      };
      for (const [name, layout] of Object.entries(TARGETS)) {
        const before = stored(numbers(layout.extent + 2, 5, 4), dtype);
        const sources = {
          dense: Layout.contiguous(layout.shape),
          'one element': Layout.contiguous([1]),
        };
        for (const [what, own] of Object.entries(sources)) {
          const data = stored(numbers(own.extent, 6, 4), dtype);
          const spread = own.numel === 1 ? own.expand(layout.shape) : own;
          const target = upload(gpu, 'target', before, layout, dtype);
          await execute(gpu, (recorder) =>
            copy(recorder, upload(gpu, 'source', data, spread, dtype), target),
          );
          const expected = reference.copy({ data, layout: spread }, { data: before, layout });
          expect([...(await download(gpu, target))], `${what} into ${name}`).toEqual([...expected]);
        }
      }
    },
  );

  it('refuses five dimensions, and a target that is of another shape and not contiguous, of another size or overlapping', async () => {
    const gpu = await openVariant('one lane');
    const five = zeros(gpu, 'five', [1, 2, 1, 2, 1]);
    const four = zeros(gpu, 'four', [4]);
    const column = {
      ...zeros(gpu, 'column', [4, 2]),
      layout: Layout.contiguous([4, 2]).slice(1, 0, 1),
    };
    for (const [source, target] of [
      [five, four],
      [four, column],
      [column, zeros(gpu, 'three', [3])],
      [four, { ...four, layout: Layout.contiguous([1]).expand([4]) }],
    ]) {
      await expect(execute(gpu, (r) => copy(r, source, target))).rejects.toThrow(
        'want at most 4 dimensions into a tensor of that shape',
      );
    }
  });
});
