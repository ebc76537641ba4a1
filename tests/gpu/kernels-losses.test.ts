// The losses, the evaluation's comparison and the copy against the reference, through every layout
// that logits come in.
//
// Tolerances are relative to the largest expected element. 1e-5 covers logarithms of sums of V
// exponentials, each off by some (3 + 2|x|) · 2^-23 with |x| up to 10 here, and their differences;
// and probabilities as well. Teacher logits in f16 add no error: the reference reads them as f16
// stores them, and nothing is written back in f16.

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
  uploadLossState,
  zeros,
} from './variants';

const { numbers } = reference;
const TOLERANCE = 1e-5;
const IGNORED = -100;
const [B, T] = [3, 5];
/** Fewer tokens than lanes, and a vocabulary that the lanes do not divide evenly. */
const VOCABULARIES = [37, 131];

/** Layouts of logits (B, T, V). */
const LAYOUTS: Record<string, (V: number) => Layout> = {
  contiguous: (V) => Layout.contiguous([B, T, V]),
  'shifted, [:, :-1]': (V) => Layout.contiguous([B, T + 1, V]).slice(1, 0, -1),
  'time-major': (V) => Layout.contiguous([T, B, V]).transpose(0, 1),
  'with a padded vocabulary': (V) => Layout.contiguous([B, T, V + 6]).slice(2, 0, V),
  'at an offset': (V) => new Layout([B, T, V], [T * V, V, 1], 7),
  'with tokens apart': (V) => Layout.contiguous([B, T, V, 2]).select(3, 1),
};
const names = Object.keys(LAYOUTS);
/** Not the student's layout, so that a kernel that mixes them up fails. */
const teacherLayout = (student: string) =>
  LAYOUTS[names[(names.indexOf(student) + 1) % names.length]];
/** [:, 1:] of (B, T + 1), time-major, and contiguous. */
const targetLayouts = [
  Layout.contiguous([B, T + 1]).slice(1, 1, null),
  Layout.contiguous([T, B]).transpose(0, 1),
  Layout.contiguous([B, T]),
];

/** A storage with numbers in elements that the layout does not reach, and after its end. */
const fill = (layout: Layout, salt: number, dtype: Storage = 'f32') =>
  stored(numbers(layout.extent + 9, salt, 4), dtype);

/** Targets through a layout; `ignored` says for which rows they are ignored. */
function targetsOf(layout: Layout, V: number, ignored: (row: number) => boolean): Float64Array {
  // Elements that the layout does not reach hold a valid target, which must not count.
  const data = new Float64Array(layout.extent + 3).fill(1);
  for (const [row, at] of [...layout.addresses()].entries())
    data[at] = ignored(row) ? IGNORED : [0, V - 1, (row * 29) % V][row % 3];
  return data;
}

const SCALE = 1024;

interface Setting {
  V: number;
  student: string;
  temperature: number;
  alpha: number;
  ignored?: (row: number) => boolean;
  /** Tokens whose teacher logits are −∞. */
  ruledOut?: (v: number) => boolean;
  /** Rows in a chunk; the student's logits are then contiguous, the teacher's padded. */
  chunkRows?: number;
  gradient?: boolean;
}

/** Runs a loss and compares values, gradient, and everything that must not change. */
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
    ...uploadLossState(gpu, { temperature, alpha, tokens: expected.valid, scale: SCALE }),
    ignoreIndex: IGNORED,
    gradient,
  };
  const allRows = upload(gpu, 'teacher', yData, yLayout, teacherType);
  /** Some of the teacher's rows, with one unused element after each. */
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
    const chunkData = sData.slice(first * V, (first + count) * V);
    const chunk = setting.chunkRows ? { first, rows: count } : undefined;
    const student = chunk
      ? upload(gpu, 'chunk', chunkData, [count, V])
      : upload(gpu, 'student', sData, sLayout);
    const teacher = chunk ? teacherRows(first, count) : allRows;
    await execute(gpu, (recorder) =>
      kind === 'ce'
        ? ce(recorder, { ...tensors, student, chunk })
        : distil(recorder, { ...tensors, student, teacher, chunk, divergence: 'fkl', beta: 0.5 }),
    );
    actual.set(await download(gpu, student), first * V);
  }

  const perToken = await download(gpu, tensors.perToken);
  const lossOf = (weights: { temperature: number; alpha: number }) =>
    reference.distillationLoss(
      { kind: 'mixed', ...weights, ignoreIndex: IGNORED },
      { data: sData, layout: sLayout },
      { data: yData, layout: yLayout },
      { data: tData, layout: tLayout },
    ).perToken;
  const values = (column: number) => perToken.filter((_, i) => i % 2 === column);
  expectClose(values(0), lossOf({ temperature: 1, alpha: 0 }), TOLERANCE, 'ce');
  // per_token has KL without T².
  const kl = lossOf({ temperature, alpha: 1 }).map((value) => value / temperature ** 2);
  expectClose(values(1), kind === 'mixed' ? kl : new Float64Array(B * T), TOLERANCE, 'kl');

  const covered = gradient ? [...sLayout.addresses()] : [];
  expectClose(
    covered.map((at) => actual[at]),
    covered.map((at) => SCALE * expected.gradient[at]),
    TOLERANCE,
    'gradient',
  );
  const inside = new Set(covered);
  const outside = [...sData.keys()].filter((at) => !inside.has(at));
  expect(outside.map((at) => actual[at])).toEqual(outside.map((at) => sData[at]));
}

const someIgnored = (row: number) => row % 4 === 1;

for (const kind of ['ce', 'mixed'] as const) {
  // ce reads no teacher logits, so it has no f16.
  const dtypes: Storage[] = kind === 'ce' ? ['f32'] : ['f32', 'f16'];
  const test = (
    title: string,
    setting: Omit<Setting, 'V' | 'temperature' | 'alpha'> & Partial<Setting>,
  ) =>
    testVariants(
      `${kind}: ${title}`,
      async (gpu, dtype) => {
        for (const V of VOCABULARIES)
          await compareLoss(gpu, kind, dtype, { temperature: 2, alpha: 0.7, ...setting, V });
      },
      // GRADIENT matters only after the last line where lanes work together, so one variant is
      // enough.
      setting.gradient === false ? ['one lane'] : undefined,
      dtypes,
    );

  for (const student of names)
    test(`logits ${student}, some targets ignored`, { student, ignored: someIgnored });
  test('no target ignored', { student: 'contiguous' });
  test('with every target ignored, values and gradient are 0', {
    student: 'shifted, [:, :-1]',
    ignored: () => true,
  });
  test('in chunks of 4 rows', { student: 'contiguous', ignored: someIgnored, chunkRows: 4 });
  test('without a gradient the logits stay', {
    student: 'time-major',
    ignored: someIgnored,
    gradient: false,
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
  testVariants('tokens that the teacher rules out with −∞', (gpu, dtype) =>
    compareLoss(gpu, 'mixed', dtype, {
      V: 131,
      student: 'shifted, [:, :-1]',
      temperature: 2,
      alpha: 0.7,
      ruledOut: (v) => v % 3 === 0 || v > 100,
    }),
  );

  testVariants(
    'a student equal to its teacher has a KL of 0 and a gradient of 0',
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
        ...uploadLossState(gpu, { temperature: 2, tokens: B * T, scale: SCALE }),
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
      // 37 terms, each p times a difference of logarithms near 10, which are off by 1e-6.
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
  async function compareCase(
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
      // Two tokens share the largest logit, and the choice between them decides the agreement.
      // Some pairs belong to one lane, others to two.
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
    const perToken = upload(gpu, 'per token', new Float64Array(B * T * 6).fill(777), [B * T, 6]);
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
    const column = (c: number) => all.filter((_, i) => i % 6 === c);
    expectClose(column(0), expected.studentNll, TOLERANCE, 'student');
    expectClose(column(1), expected.teacherNll, TOLERANCE, 'teacher');
    expectClose(column(2), expected.kl, TOLERANCE, 'kl');
    expect([...column(3)]).toEqual([...expected.agreement]);
    expect([...column(4)]).toEqual([...expected.studentRight]);
    expect([...column(5)]).toEqual([...expected.teacherRight]);
    expect([...(await download(gpu, student))]).toEqual([...sData]);
    return expected.agreement;
  }

  for (const name of names) {
    testVariants(`logits ${name}, some targets ignored`, async (gpu, dtype) => {
      for (const V of VOCABULARIES) await compareCase(gpu, dtype, V, name, someIgnored);
    });
  }
  testVariants('every target ignored', async (gpu, dtype) => {
    await compareCase(gpu, dtype, 37, 'contiguous', () => true);
  });
  testVariants('of equal logits the lowest id is the most likely', async (gpu, dtype) => {
    const agreement = await compareCase(gpu, dtype, 131, 'contiguous', () => false, true);
    expect(new Set(agreement), 'both answers occur').toEqual(new Set([0, 1]));
  });
});

describe('copy', () => {
  const SOURCES: Record<string, Layout> = {
    ...Object.fromEntries(names.map((name) => [name, LAYOUTS[name](131)])),
    'a transposed matrix': Layout.contiguous([7, 9]).transpose(0, 1),
    'a vector with a step': Layout.contiguous([40]).slice(0, 3, null, 2),
    'a repeated row': Layout.contiguous([1, 5]).expand([4, 5]),
    'four dimensions, permuted': Layout.contiguous([2, 3, 4, 5]).permute([3, 1, 0, 2]),
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

  testVariants('into every layout, leaving elements outside it as they are', async (gpu, dtype) => {
    const TARGETS: Record<string, Layout> = {
      'logits[:, :-1]': Layout.contiguous([3, 5, 7]).slice(1, 0, -1),
      'the last position': Layout.contiguous([3, 5, 7]).slice(1, -1),
      'heads, transposed': Layout.contiguous([2, 6, 3, 4]).transpose(1, 2),
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
      for (const [sourceName, source] of Object.entries(sources)) {
        const data = stored(numbers(source.extent, 6, 4), dtype);
        const spread = source.numel === 1 ? source.expand(layout.shape) : source;
        const target = upload(gpu, 'target', before, layout, dtype);
        await execute(gpu, (recorder) =>
          copy(recorder, upload(gpu, 'source', data, spread, dtype), target),
        );
        const expected = reference.copy({ data, layout: spread }, { data: before, layout });
        expect([...(await download(gpu, target))], `${sourceName} into ${name}`).toEqual([
          ...expected,
        ]);
      }
    }
  });

  it('refuses five dimensions, and a target that is strided, smaller or overlapping', async () => {
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
